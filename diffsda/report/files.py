"""Write a figure or a page, in a folder that may have to be made."""

from __future__ import annotations

from pathlib import Path

from diffsda.atomic import atomic_write
from diffsda.errors import SaveError


def write(path: str | Path, data: bytes) -> Path:
    """Put data at path, whole or not at all (see ``atomic_write``).

    The folder is made if it is missing. Returns the path.
    Raises: SaveError if the folder or the file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"{path}: {error.strerror or error}; expected a place that can be written") from error
    atomic_write(path, lambda file: file.write(data))
    return path
