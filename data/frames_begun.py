"""A prepared folder of frames under way: what it was begun with, so that the same command goes on and no other."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.data.frames_format import CLIPS, FRAMES
from diffsda.data.prepared import NAME, SPLITS
from diffsda.errors import InputError

BEGUN = "begun.json"


def begin(out: Path, what: dict[str, Any], *, overwrite: bool) -> bool:
    """Make a folder ready to be filled; tell whether it goes on with one that was stopped.

    what: everything that decides the content, fit for JSON. A folder that was begun with just that is gone on with.
    Raises: InputError if it is finished, or was begun with something else, and ``overwrite`` is false.
    """
    said = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    path = out / BEGUN
    held = _read(path)
    if (out / NAME).exists() and not overwrite:
        raise InputError(f"{out}: holds a prepared set already; pass --overwrite to replace it, or another --out")
    if held == said and not (out / NAME).exists():
        return True
    if held is not None and not overwrite:
        raise InputError(
            f"{out}: was begun with other options or other files; use the same, pass --overwrite to begin anew, or "
            "take another --out"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / NAME).unlink(missing_ok=True)
        clear(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder ({error.strerror or error})") from None
    atomic_write(path, lambda file: file.write(json.dumps({"begun": said}).encode()))
    return False


def end(out: Path) -> None:
    """Take away the mark that a folder is under way; its dataset.json is written."""
    (out / BEGUN).unlink(missing_ok=True)


def clear(out: Path) -> None:
    """Take away the frames of all splits, and their folders where nothing else is in them."""
    for split in SPLITS:
        for name in (FRAMES, CLIPS):
            (out / split / name).unlink(missing_ok=True)
        if (out / split).is_dir() and not any((out / split).iterdir()):
            shutil.rmtree(out / split)


def _read(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["begun"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"
