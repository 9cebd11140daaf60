"""What a reader finds in a downloaded set: its clips, and what is known of the set itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from diffsda.errors import InputError

Order = Literal["number", "text", "disk"]
"""How names are put in order: by the numbers in them (2 before 10), as text, or as the file system lists them."""


@dataclass(frozen=True, slots=True)
class Found:
    """A clip in a download."""

    key: str
    """Its name in the prepared set, unique there; may have slashes."""
    source: Path
    """A folder of images, a video, or one image with the frames side by side."""
    split: str
    labels: dict[str, int]
    order: Order = "number"
    """Of the images in a folder."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two test clips, by key, that an evaluation swaps with each other."""

    first: str
    second: str


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known of a set before a byte of it is read."""

    name: str
    title: str
    frames: int
    """V of the paper."""
    size: int
    """Height and width the paper trains on (before a first stage)."""
    rate: Fraction
    """Frames a second of image folders, which do not say it themselves."""
    layout: str
    """Folders that are looked for, in words."""
    homepage: str
    licence: str
    citation: str
    whole: dict[str, int]
    """How many the whole set has of what: ``clips``, or values of a label."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """What a reader makes of a downloaded set."""

    about: About
    clips: Sequence[Found]
    label_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pairs: Sequence[Pair] = ()
    absent: Sequence[str] = ()
    """Files that the set's own list names and that are not there."""
    options: dict[str, Any] = field(default_factory=dict)
    """What decided clips, labels and splits."""
    remarks: tuple[str, ...] = ()
    """What people should know of how it was read."""


def by_number(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts names by the numbers in them: img_2 before img_10."""
    parts = re.split(r"(\d+)", name)
    # ASCII digits only: int() takes others too, but two spellings of a number must not be equal.
    return tuple((1, int(p), p) if p.isdecimal() and p.isascii() else (0, 0, p) for p in parts)


def in_order(names: Iterable[str], order: Order) -> list[str]:
    """Put names in order; ``disk`` leaves them as they come."""
    if order == "number":
        return sorted(names, key=by_number)
    return sorted(names) if order == "text" else list(names)


def names_in(folder: Path, order: Order = "number", suffixes: Iterable[str] | None = None) -> list[str]:
    """Return the names in a folder that do not begin with a dot.

    suffixes: only these, in lower case, with their dot.
    Raises: InputError if the folder cannot be listed.
    """
    try:
        held = [name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208  # published order
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from None
    if suffixes is not None:
        wanted = frozenset(suffixes)
        held = [name for name in held if os.path.splitext(name)[1].lower() in wanted]  # noqa: PTH122  # millions
    return in_order(held, order)


def folders_in(folder: Path, order: Order = "number") -> list[Path]:
    """Return the folders in a folder whose names do not begin with a dot."""
    return [folder / name for name in names_in(folder, order) if (folder / name).is_dir()]


def locate(root: Path, about: About, places: Iterable[str], holds: Iterable[str]) -> Path:
    """Return the first place below a root (or it itself, '') that is there and holds one of the names.

    Raises: InputError, saying which folders are looked for and where the set comes from.
    """
    if not root.is_dir():
        raise InputError(f"--root: got {root}, expected the folder with the download of {about.title}")
    wanted = tuple(holds)
    for place in places:
        folder = root / place
        if folder.is_dir() and any((folder / name).exists() for name in wanted):
            return folder
    raise InputError(
        f"--root: found no {about.title} in {root}, expected {about.layout}; get it from {about.homepage} "
        f"({about.licence})"
    )
