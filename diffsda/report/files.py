"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path
from uuid import uuid4

from diffsda.errors import SaveError


def write(path: str | Path, data: bytes) -> Path:
    """Put data at path through a temporary file beside it, so that nobody ever reads half a file.

    The folder is made if it is missing. Returns the path.
    Raises: SaveError if the folder or the file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")  # beside it: a rename is one step
        try:
            part.write_bytes(data)
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        raise SaveError(f"{path}: {error.strerror or error}; expected a place that can be written") from error
    return path
