"""Write a file completely or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from diffsda.errors import SaveError


def atomic_write(path: str | Path, fill: Callable[[IO[bytes]], Any]) -> Path:
    """Write through a temporary file in the same folder, and rename it once it is safely on disk.

    ``fill`` writes the bytes. A kill at any moment leaves the old file or the new one, never a part.
    Raises: SaveError if the disk is full or the folder cannot be written; the old file is untouched.
    """
    path = Path(path)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; give the result the permissions any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        _forget(temporary)
        reason = error.strerror or str(error)
        raise SaveError(f"{path}: could not be written ({reason}); what was there before is untouched") from error
    except BaseException:
        _forget(temporary)
        raise
    # The rename itself must survive a power cut; not every file system lets a folder be synced.
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


def _forget(temporary: Path | None) -> None:
    if temporary is not None:
        with contextlib.suppress(OSError):
            temporary.unlink()
