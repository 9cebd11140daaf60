"""Videos found in a folder, with the splits and labels that its sub-folders tell."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from diffsda.data.problems import Problems
from diffsda.data.video.found import by_number
from diffsda.data.video.frames_folder import IMAGES
from diffsda.data.video.probe import SUFFIXES
from diffsda.errors import InputError

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
LABEL = "class"
"""The label that sub-folders give."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One video to be prepared: a file, or pictures that become one."""

    key: str
    """Its name within the set, with slashes."""
    place: Path
    """The file, or the folder of its pictures."""
    pictures: bool = False
    split: str | None = None
    """None: to be drawn."""
    labels: dict[str, int] = field(default_factory=dict)


def find(
    folder: Path, problems: Problems, without: Path | None = None
) -> tuple[list[Item], dict[str, tuple[str, ...]]]:
    """Return all videos below a folder, in the order of their names, and the names of their labels.

    A folder with pictures and no videos is one video. Where there is a sub-folder train, the folders train, val and
    test are the splits. Where all videos lie in sub-folders (of their split), two at least, these are the label
    ``class``. Hidden files are passed over, and ``without``, the folder that results go to.
    Raises: InputError if the folder is not there or holds no video.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected one with videos in it")
    places = sorted(_places(folder, without), key=lambda found: by_number(found[0]))
    if not places:
        raise InputError(
            f"{folder}: holds no videos, expected {' '.join(sorted(SUFFIXES))} files or folders of pictures"
        )
    parted = any(SPLIT_NAMES.get(_top(key)) == "train" for key, _, _ in places)
    items = []
    for key, place, pictures in places:
        split = SPLIT_NAMES.get(_top(key)) if parted else None
        if parted and split is None:
            problems.add(place, "lies outside of the folders train, val and test, which tell the splits")
            continue
        items.append(Item(key=key, place=place, pictures=pictures, split=split))
    return _labelled(items)


def _labelled(items: Sequence[Item]) -> tuple[list[Item], dict[str, tuple[str, ...]]]:
    words = [_word(item) for item in items]
    classes = sorted({word for word in words if word is not None}, key=by_number)
    if None in words or len(classes) < 2:
        return list(items), {}
    numbers = {word: number for number, word in enumerate(classes)}
    made = [
        Item(key=i.key, place=i.place, pictures=i.pictures, split=i.split, labels={LABEL: numbers[word]})
        for i, word in zip(items, words, strict=True)
        if word is not None
    ]
    return made, {LABEL: tuple(classes)}


def _word(item: Item) -> str | None:
    parts = PurePosixPath(item.key).parts[1 if item.split else 0 :]
    return parts[0] if len(parts) > 1 else None


def _top(key: str) -> str:
    parts = PurePosixPath(key).parts
    return parts[0].lower() if len(parts) > 1 else ""


def _places(folder: Path, without: Path | None) -> Iterator[tuple[str, Path, bool]]:
    """Yield name and place of everything that is a video, and whether it is a folder of pictures."""
    seen = set()
    for at, folders, files in os.walk(folder, followlinks=True):
        here = Path(at)
        real = here.resolve()
        if real in seen or (without is not None and real == without.resolve()):
            folders.clear()  # a link back, or our own results
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = [here / name for name in files if not name.startswith(".")]
        videos = [path for path in shown if path.suffix.lower() in SUFFIXES]
        for path in videos:
            yield path.relative_to(folder).as_posix(), path, False
        if not videos and any(path.suffix.lower() in IMAGES for path in shown):
            yield (here.relative_to(folder).as_posix() if here != folder else folder.name), here, True
