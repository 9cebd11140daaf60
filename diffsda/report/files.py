"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from diffsda.errors import SaveError


def write(path: str | Path, data: bytes) -> Path:
    """Put data at path through a temporary file beside it, so that nobody ever reads half a file.

    The folder is made if it is missing. Returns the path.
    Raises: SaveError if the folder or the file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                # mkstemp makes files for the owner only; give the rights an ordinary new file gets.
                os.fchmod(file.fileno(), 0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise SaveError(f"{path}: {error.strerror or error}; expected a place that can be written") from error
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
