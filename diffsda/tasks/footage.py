"""Whole clips of a set, frame after frame in chunks: videos as they are decoded, arrays as they lie in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from diffsda.data.prepared import SPLITS, Dataset, is_prepared
from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.data.video.entry import Entry

CHUNK = 32
"""Frames decoded at a time: what lies after a key frame and before a chunk is decoded again for it."""
AT_ONCE = 8
"""Chunks decoded at a time."""


@dataclass(frozen=True)
class Chunk:
    """Some frames (n, C, H, W) of a clip in [-1, 1], the next ones; ``last`` where the clip ends with them."""

    item: int
    frames: Any
    last: bool


class Footage(Protocol):
    """Clips of all splits of a set."""

    about: Dataset
    splits: tuple[str, ...]
    frames: int
    """Frames of all clips."""

    def count(self, split: str) -> int:
        """Return how many clips a split has."""
        ...

    def key(self, split: str, item: int) -> str:
        """Return what a clip is called."""
        ...

    def length(self, split: str, item: int) -> int:
        """Return how many frames a clip has."""
        ...

    def labels(self, split: str, item: int) -> dict[str, int]:
        """Return what is known of a clip."""
        ...

    def chunks(self, split: str, skip: set[int]) -> Iterator[Chunk]:
        """Yield all frames of the clips that are not skipped, each clip from end to end, read ahead."""
        ...

    def blamed(self, split: str, message: str, skip: set[int]) -> int | None:
        """Return the clip that an error speaks of, if it is one that is not skipped."""
        ...

    def fingerprint(self) -> Any:
        """Return what tells these clips from others, fit for JSON."""
        ...

    def describe(self) -> str:
        """Say in one line what reads the clips."""
        ...


def footage_of(data: str | Path, size: int, *, loader: str = "auto", device: str = "cpu") -> Footage:
    """Open a set of pixels: a prepared folder of videos, or clips in memory by name, file or folder.

    size: height and width in pixels. loader, device: as ``data.video.footage.VideoSet``.
    Raises: InputError if the set has no pixels, or others than asked for; MissingPackage without a decoder.
    """
    if is_prepared(data):
        held = Dataset.read(data)
        if held.kind == "video":
            return Videos(Path(data), held, size, loader=loader, device=device)
        if held.kind != "arrays" or held.size is None:
            raise InputError(f"{data}: holds {held.kind} of {held.modality}, expected videos in pixels")
        splits = tuple(split for split in SPLITS if split in held.splits)
        return Stills(str(data), held, splits, size)
    clips = Dataset(kind="arrays", name=Path(data).stem, modality="video", frames=None, channels=3, splits={"train": 1})
    named = not Path(data).suffix
    return Stills(str(data), clips, ("train", "test") if named else ("train",), size)


class Videos:
    """A prepared folder of videos: a ``Footage``."""

    def __init__(self, folder: Path, held: Dataset, size: int, *, loader: str, device: str) -> None:
        from diffsda.data.video.choice import choose
        from diffsda.data.video.entry import read_entries, shortest_sides

        self.about, self.size, self.device = held, size, device
        self.root = folder.resolve()
        self.splits = tuple(split for split in SPLITS if split in held.splits)
        self.entries: dict[str, list[Entry]] = {s: read_entries(folder / f"{s}.jsonl") for s in self.splits}
        everything = [entry for entries in self.entries.values() for entry in entries]
        self.frames = sum(entry.frames for entry in everything)
        self.loader, self._why = choose(loader, device, shortest_sides(everything))

    def count(self, split: str) -> int:
        """Return how many videos a split has."""
        return len(self.entries[split])

    def key(self, split: str, item: int) -> str:
        """Return a video's path, from the folder where it lies in there."""
        path = self.entries[split][item].path
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def length(self, split: str, item: int) -> int:
        """Return how many frames a video has."""
        return self.entries[split][item].frames

    def labels(self, split: str, item: int) -> dict[str, int]:
        """Return a video's labels."""
        return self.entries[split][item].labels

    def chunks(self, split: str, skip: set[int]) -> Iterator[Chunk]:
        """Yield the frames of whole videos, the short ones last."""
        left = [item for item in range(self.count(split)) if item not in skip]
        long = [item for item in left if self.length(split, item) >= CHUNK]
        short = [item for item in left if self.length(split, item) < CHUNK]
        yield from self._decoded(split, long, CHUNK)
        # A loader gives clips of one length: short ones are cut into pieces of the shortest, whichever are left to do.
        lengths = (self.length(split, item) for item in range(self.count(split)))
        yield from self._decoded(split, short, min(lengths))

    def blamed(self, split: str, message: str, skip: set[int]) -> int | None:
        """Return the video whose path an error begins with."""
        items = [item for item in range(self.count(split)) if item not in skip]
        return next((i for i in items if message.startswith(f"{self.entries[split][i].path}:")), None)

    def fingerprint(self) -> Any:
        """Return digest, frames and labels of all videos, and what decodes them: loaders round differently."""
        held = {s: [[entry.sha256, entry.frames, entry.labels] for entry in self.entries[s]] for s in self.splits}
        where = self.device.partition(":")[0] if self.loader == "dali" else "cpu"
        return {"loader": f"{self.loader} on {where}", **held}

    def describe(self) -> str:
        """Say what decodes the videos, and why that."""
        return f"videos of {self.about.name}, decoded by {self.loader} on {self.device} ({self._why})"

    def _decoded(self, split: str, items: Sequence[int], frames: int) -> Iterator[Chunk]:
        from diffsda.data.video.view import Plan

        if not items:
            return
        cuts = [(item, *cut) for item in items for cut in _cuts(self.length(split, item), frames)]
        plans = [Plan(tuple(range(start, start + frames))) for _, start, _ in cuts]
        jobs = [(self.entries[split][item], plan) for (item, _, _), plan in zip(cuts, plans)]
        batches = self._open(frames).batches(jobs[at : at + AT_ONCE] for at in range(0, len(jobs), AT_ONCE))
        for (item, start, known), decoded in zip(cuts, itertools.chain.from_iterable(batches)):
            yield Chunk(item, decoded[known:], start + frames == self.length(split, item))

    def _open(self, frames: int) -> Any:
        from diffsda.data.video.view import View

        view = View(frames=frames, size=self.size)
        if self.loader == "dali":
            from diffsda.data.video.dali import DaliLoader

            return DaliLoader(view, self.device)
        from diffsda.data.video.pyav import PyAVLoader

        return PyAVLoader(view)


def _cuts(length: int, frames: int) -> Iterator[tuple[int, int]]:
    """Yield where pieces of so many frames begin, and how many frames of each are known from the one before."""
    for start in range(0, length, frames):
        yield min(start, length - frames), max(0, start - (length - frames))


class Stills:
    """Clips of pixels in memory: a ``Footage``."""

    def __init__(self, data: str, held: Dataset, splits: tuple[str, ...], size: int) -> None:
        from diffsda.data.registry import open_clips

        self.clips: dict[str, Clips] = {split: open_clips(data, split) for split in splits}
        self.splits = splits
        first = self.clips["train"]
        if not first.video or first.x.shape[3:] != (size, size):
            raise InputError(f"{data}: got clips {first.x.shape}, expected (N, V, C, {size}, {size}); see --size")
        self.about = held if held.size else _described(held, first)
        self.frames = sum(self.length(split, item) for split in splits for item in range(self.count(split)))

    def count(self, split: str) -> int:
        """Return how many clips a split has."""
        return len(self.clips[split])

    def key(self, split: str, item: int) -> str:
        """Return a clip's place."""
        return f"{split}/{item}"

    def length(self, split: str, item: int) -> int:
        """Return how many frames of a clip are not padding."""
        clips = self.clips[split]
        return clips.frames if clips.lengths is None else int(clips.lengths[item])

    def labels(self, split: str, item: int) -> dict[str, int]:
        """Return what is known of the whole clip."""
        return {name: int(label[item]) for name, label in self.clips[split].labels.items() if label.ndim == 1}

    def chunks(self, split: str, skip: set[int]) -> Iterator[Chunk]:
        """Yield clip after clip."""
        for item in range(self.count(split)):
            length = self.length(split, item)
            for start in range(0, 0 if item in skip else length, CHUNK):
                end = min(start + CHUNK, length)
                yield Chunk(item, self.clips[split].x[item, start:end], end == length)

    def blamed(self, split: str, message: str, skip: set[int]) -> int | None:
        """Blame nobody: what is in memory can be read."""
        return None

    def fingerprint(self) -> Any:
        """Return a SHA-256 of all clips of each split, in their order, and their labels."""
        labels = {split: [self.labels(split, item) for item in range(self.count(split))] for split in self.splits}
        return {split: [clips.fingerprint(), labels[split]] for split, clips in self.clips.items()}

    def describe(self) -> str:
        """Say where the clips are."""
        return f"clips of {self.about.name}, in memory"


def _described(held: Dataset, clips: Clips) -> Dataset:
    import dataclasses

    shape = {"frames": clips.frames, "channels": int(clips.x.shape[2]), "size": int(clips.x.shape[3])}
    names = dict(clips.label_names)
    return dataclasses.replace(held, **shape, label_names=names, name=clips.name, source=clips.source)  # type: ignore[arg-type]
