"""A set of one's own videos: looked over, written anew in the size to train on, split, indexed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from diffsda.data.own import splitting
from diffsda.data.own.settings import Settings
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import Tell
from diffsda.data.stream import Watch
from diffsda.data.video.encode import Encoding
from diffsda.data.video.layout import find
from diffsda.data.video.prepare import About, Shares, prepare_items

FRAMES, SIZE = 16, 64
"""Frames of a clip and pixels of a side where nobody says."""
LOSSY_FROM = 160
"""Pixels of a side from which files are compressed in time too (vp9), since pictures one by one get large."""


def build(source: Path, out: Path, ask: Settings, problems: Problems, tell: Tell, watch: Watch) -> Dataset:
    """Prepare the videos below a folder, or one file; return what dataset.json says.

    Unless they are to be kept, files are written anew: in the size to train on, turned as they should be shown, frame
    after frame, quick to read anywhere.
    Raises: InputError if nothing can be used; SaveError; MissingPackage without PyAV.
    """
    frames, size = ask.frames or FRAMES, ask.size or SIZE
    folder = source if source.is_dir() else source.parent
    items, label_names = find(folder, problems, without=out)
    if source.is_file():
        items, label_names = [item for item in items if item.place == source], {}
    if ask.by == "folder" and not any(item.split for item in items):
        sides = splitting.sides([Path(item.key) for item in items], ask, lambda path: None)
        items = [dataclasses.replace(item, split=sides[Path(item.key)]) for item in items]
    tell(f"clips of {frames} frames of {size} x {size} pixels (--frames, --size)")
    encoding = None if ask.keep else Encoding(codec="mjpeg" if size < LOSSY_FROM else "vp9", size=size)
    about = About(
        name=ask.name,
        frames=frames,
        size=size,
        label_names=label_names,
        options={"by": ask.by},
        source=f"videos in {ask.source.name}",
    )
    shares = Shares(val=ask.val_share, test=ask.test_share, seed=ask.seed)
    return prepare_items(
        items, out, about, encoding=encoding, shares=shares, jobs=ask.jobs, problems=problems, tell=tell, watch=watch
    )
