"""Open clips by name: data that ships, data made on the fly, or a file."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from diffsda.data import arrays
from diffsda.data.clip import Clips
from diffsda.data.embedded import japanese_vowels
from diffsda.data.synthetic.series import series
from diffsda.data.synthetic.shapes import moving_shapes
from diffsda.data.synthetic.tones import tones
from diffsda.errors import InputError

SPLITS = ("train", "test")

_EMBEDDED: dict[str, Callable[..., Clips]] = {"japanese_vowels": japanese_vowels.load}
_MADE: dict[str, Callable[..., Clips]] = {"moving_shapes": moving_shapes, "tones": tones, "series": series}
# split -> (items, seed): two seeds share no item.
_DRAWS = {"train": (512, 0), "test": (128, 1)}


def names() -> tuple[str, ...]:
    """Return the names ``open_clips`` knows."""
    return (*_EMBEDDED, *_MADE)


def open_clips(name_or_path: str | os.PathLike[str], split: str = "train") -> Clips:
    """Open clips by name, or read them from a file.

    split: train or test. Made clips have 512 and 128 items, of two seeds. A file has no splits: it is read
    whole, whichever is asked for (``Clips.split`` parts it).
    Raises: InputError if the name, the split or the file will not do; a near name is suggested.
    """
    if split not in SPLITS:
        raise InputError(f"split: got {split!r}, expected train or test{_near(split, SPLITS)}")
    name = os.fspath(name_or_path)
    if name in _EMBEDDED:
        return _EMBEDDED[name](split)
    if name in _MADE:
        items, seed = _DRAWS[split]
        return _MADE[name](items, seed=seed)
    path = Path(name)
    if path.suffix in arrays.SUFFIXES or len(path.parts) > 1 or path.exists():
        return arrays.read(path)
    raise InputError(
        f"data: got {name!r}, expected one of {', '.join(names())} or a file ending in "
        f"{', '.join(arrays.SUFFIXES)}{_near(name, names())}"
    )


def _near(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name.lower(), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
