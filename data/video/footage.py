"""A prepared set of videos as clips that are decoded while a model trains."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from diffsda.data.check import Array
from diffsda.data.prepared import Dataset
from diffsda.data.stream import Take
from diffsda.data.video.choice import choose
from diffsda.data.video.entry import Entry, read_entries, shortest_sides
from diffsda.data.video.view import Plan, View
from diffsda.errors import InputError

__all__ = ["Entry", "VideoSet", "read_entries"]


class Loader(Protocol):
    """Decodes clips."""

    def batches(self, jobs: Iterable[Sequence[tuple[Entry, Plan]]]) -> Iterator[Array]:
        """Yield (B, V, 3, size, size) float32 in [-1, 1] for each sequence of B jobs."""
        ...


class VideoSet:
    """A split of a prepared folder of videos: a ``Stream``.

    Its clips are (V, 3, size, size) as ``view`` takes them. Nothing is decoded before it is asked for.
    Raises: InputError if the split's index is missing or broken, a video is shorter than a clip, or the loader cannot
    decode what the set holds; MissingPackage if its package is not there.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        split: str,
        view: View,
        *,
        loader: Literal["auto", "dali", "pyav"] = "auto",
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        folder = Path(folder)
        held = Dataset.read(folder)
        if not view.size:
            raise InputError(f"{folder}: size: got 0, expected height and width of a frame in pixels (clips.size)")
        self.entries = read_entries(folder / f"{split}.jsonl")
        for entry in self.entries:
            view.plan(Take(0), entry.frames, str(entry.path))
        self.name, self.source = held.name, f"{held.source or held.name}, {split}"
        self.view = view
        self.shape: tuple[int, ...] = (view.frames, 3, view.size, view.size)
        self.statistics, self.options = held.statistics, held.options
        self.device, self.threads = device, threads
        self.loader, self._why = choose(loader, device, shortest_sides(self.entries))
        self._opened: Loader | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def labels(self) -> dict[str, Array]:
        """Return the labels of the files, (N,) int64; -1 where one has none."""
        names = sorted({name for entry in self.entries for name in entry.labels})
        return {name: np.array([e.labels.get(name, -1) for e in self.entries], np.int64) for name in names}

    def batches(self, takes: Iterable[Sequence[Take]]) -> Iterator[Array]:
        """Yield float32 (B, V, 3, size, size) in [-1, 1] for each sequence of B takes, in order, reading ahead.

        With DALI on a CUDA device these are torch tensors there, else numpy arrays.
        Raises: InputError naming a file that cannot be decoded, or a take of an item that is not there.
        """
        if self._opened is None:
            self._opened = self._open()
        return self._opened.batches([self._job(take) for take in batch] for batch in takes)

    def fingerprint(self) -> str:
        """Return a SHA-256 of the files' own, in their order."""
        about = "".join(f"{entry.sha256 or entry.path} {entry.frames}\n" for entry in self.entries)
        return hashlib.sha256(about.encode()).hexdigest()

    def describe(self) -> str:
        """Say what decodes the clips, and why that."""
        where = self.device if self.loader == "dali" else "cpu"
        return f"{len(self)} videos of {self.name}, decoded by {self.loader} on {where} ({self._why})"

    def _job(self, take: Take) -> tuple[Entry, Plan]:
        if not 0 <= take.item < len(self):
            raise InputError(f"item: got {take.item}, expected one of the {len(self)} of {self.name}, from 0 on")
        entry = self.entries[take.item]
        return entry, self.view.plan(take, entry.frames, str(entry.path))

    def _open(self) -> Loader:
        if self.loader == "dali":
            from diffsda.data.video.dali import DaliLoader

            return DaliLoader(self.view, self.device, self.threads)
        from diffsda.data.video.pyav import PyAVLoader

        return PyAVLoader(self.view, self.threads)
