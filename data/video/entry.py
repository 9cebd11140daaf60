"""The index of a video set: a line of JSON for each file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One video of a set."""

    path: Path
    """Absolute, once read; in the file relative to its folder where the video lies in there."""
    frames: int
    """As many as can be decoded, counted."""
    fps: float
    """Frames a second on average."""
    width: int
    height: int
    """As it is decoded: not turned, where the file asks for that."""
    codec: str
    """libav's name: vp9, mjpeg, h264 and so on."""
    sha256: str
    labels: dict[str, int] = field(default_factory=dict)


_KINDS: dict[str, tuple[type, ...]] = {
    "path": (str,),
    "frames": (int,),
    "fps": (int, float),
    "width": (int,),
    "height": (int,),
    "codec": (str,),
    "sha256": (str,),
    "labels": (dict,),
}


def shortest_sides(entries: Iterable[Entry]) -> dict[str, int]:
    """Return the shortest side of a frame in pixels for each codec: hardware decoders take no smaller than they can."""
    sides: dict[str, int] = {}
    for entry in entries:
        sides[entry.codec] = min(sides.get(entry.codec, entry.width), entry.width, entry.height)
    return sides


def read_entries(path: str | os.PathLike[str]) -> list[Entry]:
    """Read the index of a split.

    Raises: InputError if the file is missing, or a line (by its number) is not what ``write_entries`` writes.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected the index of a split; prepare the set again") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}), expected JSON lines") from None
    entries = [_entry(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not entries:
        raise InputError(f"{path}: is empty, expected a video a line; prepare the set again")
    return entries


def write_entries(path: str | os.PathLike[str], entries: Iterable[Entry]) -> None:
    """Write the index of a split, whole or not at all; videos inside its folder are kept relative to it."""
    folder = Path(path).resolve().parent
    text = "".join(json.dumps(_plain(entry, folder)) + "\n" for entry in entries)
    atomic_write(path, lambda file: file.write(text.encode()))


def _plain(entry: Entry, folder: Path) -> dict[str, Any]:
    place = Path(os.path.abspath(entry.path))  # noqa: PTH100  # links stay links: they may point out of the folder
    inside = place.is_relative_to(folder)
    held = {name: getattr(entry, name) for name in _KINDS}
    return held | {"path": place.relative_to(folder).as_posix() if inside else str(place)}


def _entry(path: Path, number: int, line: str) -> Entry:
    try:
        held = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: line {number} is no JSON ({error}); prepare the set again") from None
    if not isinstance(held, dict) or held.keys() != _KINDS.keys():
        found = ", ".join(held) if isinstance(held, dict) else type(held).__name__
        raise InputError(f"{path}: line {number} holds {found or 'nothing'}, expected {', '.join(_KINDS)}")
    for name, kinds in _KINDS.items():
        value = held[name]
        good = isinstance(value, kinds) and not isinstance(value, bool)
        if not good or (name in ("frames", "width", "height") and value < 1):
            raise InputError(f"{path}: line {number}: {name}: got {value!r}, expected {_wanted(name)}")
    labels = held["labels"]
    if any(isinstance(value, bool) or not isinstance(value, int) for value in labels.values()):
        raise InputError(f"{path}: line {number}: labels: got {labels}, expected whole numbers by name")
    return Entry(**held | {"path": path.resolve().parent / held["path"]})


def _wanted(name: str) -> str:
    if _KINDS[name] == (int,):
        return "a whole number from 1 on"
    return {"labels": "whole numbers by name", "fps": "a number"}.get(name, "text")
