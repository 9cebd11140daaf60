"""Open clips by name: data that ships, data made on the fly, or a file."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diffsda.data import arrays
from diffsda.data.clip import Clips
from diffsda.data.embedded import japanese_vowels
from diffsda.data.prepared import Loader, in_memory, open_prepared
from diffsda.data.synthetic.series import series
from diffsda.data.synthetic.shapes import moving_shapes
from diffsda.data.synthetic.tones import tones
from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.data.stream import Stream
    from diffsda.recipe import Clips as Form

SPLITS = ("train", "val", "test")

_EMBEDDED: dict[str, Callable[..., Clips]] = {"japanese_vowels": japanese_vowels.load}
_MADE: dict[str, Callable[..., Clips]] = {"moving_shapes": moving_shapes, "tones": tones, "series": series}
# split -> (items, seed): two seeds share no item.
_DRAWS = {"train": (512, 0), "test": (128, 1)}


def names() -> tuple[str, ...]:
    """Return the names ``open_clips`` knows."""
    return (*_EMBEDDED, *_MADE)


def open_clips(name_or_path: str | os.PathLike[str], split: str = "train", form: Form | None = None) -> Clips:
    """Open clips by name, or read them from a file or a prepared folder, into memory.

    split: train, val or test, as far as a set has them. Made clips have 512 and 128 items, of two seeds. A file has no
    splits: it is read whole, whichever is asked for (``Clips.split`` parts it).
    form: the clips a recipe asks for, where a folder leaves a choice; of every item its fixed view is read.
    Raises: InputError if the name, the split or the file will not do; a near name is suggested.
    """
    found = open_data(name_or_path, split, form)
    return found if isinstance(found, Clips) else in_memory(found)


def open_data(
    name_or_path: str | os.PathLike[str],
    split: str = "train",
    form: Form | None = None,
    *,
    loader: Loader = "auto",
    device: str = "cpu",
) -> Clips | Stream:
    """Open clips to train on: as ``open_clips``, but what is large stays on disk and is read as it is used.

    loader: what decodes video: auto, dali or pyav; it hands over to ``device``.
    Raises: as ``open_clips``; MissingPackage where nothing can decode video.
    """
    if split not in SPLITS:
        raise InputError(
            f"split: got {split!r}, expected {', '.join(SPLITS[:-1])} or {SPLITS[-1]}{_near(split, SPLITS)}"
        )
    name = os.fspath(name_or_path)
    if name in _EMBEDDED or name in _MADE:
        if split not in _DRAWS:
            raise InputError(f"split: got {split!r} of {name}, expected {' or '.join(_DRAWS)}")
        if name in _EMBEDDED:
            return _EMBEDDED[name](split)
        items, seed = _DRAWS[split]
        return _MADE[name](items, seed=seed)
    path = Path(name)
    if path.is_dir():
        return open_prepared(path, split, form, loader=loader, device=device)
    if len(path.parts) > 1 and path.suffix not in arrays.SUFFIXES and not path.exists():
        raise InputError(
            f"{path}: no such file or folder, expected a prepared folder, or a file ending in "
            f"{', '.join(arrays.SUFFIXES)}"
        )
    if path.suffix in arrays.SUFFIXES or len(path.parts) > 1 or path.exists():
        return arrays.read(path)
    raise InputError(
        f"data: got {name!r}, expected one of {', '.join(names())}, a prepared folder, or a file ending in "
        f"{', '.join(arrays.SUFFIXES)}{_near(name, names())}"
    )


def _near(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name.lower(), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
