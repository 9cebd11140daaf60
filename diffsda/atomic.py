"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from diffsda.errors import DiffSDAError, InputError, SaveError


def atomic_write(path: str | os.PathLike[str], fill: Callable[[BinaryIO], object]) -> None:
    """Call ``fill`` on a new file and put that in the place of ``path`` once it is safely on disk.

    Until then whatever was at ``path`` stays as it was; a reader sees the old file or the new one, never a
    part. A link is followed, so the file it points to is the one replaced.
    Raises: InputError if the folder is missing or ``path`` is a folder; SaveError, with the cause, if
    anything in writing fails: no space, no permission, an error in ``fill``. No partial file is left behind.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise InputError(f"{path}: there is no folder {target.parent}; make it first")
    if target.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file")
    # Same folder, so that the replacement is a rename and never a copy; a short name, so that it fits
    # wherever the target's does.
    part = target.parent / f".{secrets.token_hex(8)}.part"
    try:
        # Opened by hand: the standard library's temporary files are private to their owner, ours need not be.
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "w+b") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except DiffSDAError:
        raise
    except Exception as error:
        cause = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        was = "; the file that was there is untouched" if target.exists() else ""
        raise SaveError(f"{path}: could not be written ({cause}){was}") from error
    finally:
        # After the rename there is nothing under this name; before it, an interrupt must clean up as well.
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
