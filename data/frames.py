"""Clips of many frames on disk, frame after frame in one file: written as they come, read by window.

For what does not fit in memory and is dear to make again: latents of videos, features of long recordings.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.frames_format import CLIPS, FRAMES, bytes_of, read_header, read_index, stored, to_float
from diffsda.data.frames_writer import FrameWriter
from diffsda.data.prepared import Dataset
from diffsda.data.stream import Take
from diffsda.data.video.view import View
from diffsda.errors import InputError

__all__ = ["FrameStore", "FrameWriter"]

AHEAD = 2
"""Batches read before they are asked for."""


class FrameStore:
    """A split of a prepared folder of frames, read by window: a ``data.stream.Stream``.

    Raises: InputError if the files are missing, truncated or forged, a clip is shorter than the view's, or the view
    asks for what stored frames cannot give: another size, mirroring, other colours.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str, view: View) -> None:
        held, room = Dataset.read(folder), Path(folder) / split
        self.view, self.dtype = view, held.dtype
        self.name, self.source, self.statistics = held.name, f"{held.source or held.name}, {split}", held.statistics
        self.options = held.options
        index, _ = read_index(room / CLIPS)
        self.keys: tuple[str, ...] = tuple(index.keys)
        self.starts, self.lengths = np.array(index.starts, np.int64), np.array(index.frames, np.int64)
        self._labels = index.labels
        self.stored = _map(room / FRAMES, index.total, held.dtype)
        frame = (held.channels,) if held.size is None else (held.channels, held.size, held.size)
        if self.stored.shape[1:] != frame:
            raise InputError(f"{room / FRAMES}: got frames {self.stored.shape[1:]}, expected {frame} (dataset.json)")
        self.shape: tuple[int, ...] = (view.frames, *frame)
        self._check_view(held.size or 0)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def nbytes(self) -> int:
        """Bytes of all frames as they are stored."""
        return int(self.stored.nbytes)

    def labels(self) -> dict[str, Array]:
        """Return what is known of the clips, (N,) int64; -1 where it is not."""
        names = sorted({name for labels in self._labels for name in labels})
        return {name: np.array([labels.get(name, -1) for labels in self._labels], np.int64) for name in names}

    def rows(self, takes: Sequence[Take]) -> Array:
        """Return which rows of ``stored`` the takes are: (B, V) int64."""
        rows = np.empty((len(takes), self.view.frames), np.int64)
        for row, take in zip(rows, takes):
            if not 0 <= take.item < len(self):
                raise InputError(f"{self.name}: got clip {take.item}, expected 0 to {len(self) - 1}")
            indices = self.view.plan(take, int(self.lengths[take.item]), self.keys[take.item]).indices
            row[:] = self.starts[take.item] + np.asarray(indices, np.int64)
        return rows

    def clip(self, item: int) -> Array:
        """Return all frames of a clip: float32 (V_i, *frame)."""
        start = int(self.starts[item])
        return to_float(self.stored[start : start + int(self.lengths[item])], self.dtype)

    def batches(self, takes: Iterable[Sequence[Take]]) -> Iterator[Array]:
        """Yield float32 (B, *shape) for each sequence of B takes, in order, reading ahead in a thread."""
        waiting: deque[Any] = deque()
        reader = ThreadPoolExecutor(1, thread_name_prefix="frames")
        try:
            for batch in takes:
                waiting.append(reader.submit(self._read, batch))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            reader.shutdown(wait=True, cancel_futures=True)

    def fingerprint(self) -> str:
        """Return a SHA-256 of what the set was made of and of its clips' keys and places; the frames are not read."""
        about = [self.name, self.dtype, self.options, self.keys, self.starts.tolist(), self.lengths.tolist()]
        return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()

    def describe(self) -> str:
        """Say in one line what reads the clips."""
        return f"{len(self)} clips, {self.nbytes / 2**20:.0f} MiB of {self.dtype} frames, mapped from disk"

    def _check_view(self, size: int) -> None:
        view = self.view
        if view.size not in (0, size):
            raise InputError(f"{self.name}: its frames have size {size}, got clips.size {view.size}; prepare them anew")
        if view.flip or view.jitter:
            raise InputError(
                f"{self.name}: holds frames that can be neither mirrored nor recoloured, got clips.flip {view.flip} "
                f"and clips.jitter {view.jitter}, expected False and 0"
            )
        short = np.flatnonzero(self.lengths < view.frames)
        if short.size:
            raise InputError(
                f"{self.name}: {short.size} of {len(self)} clips are shorter than {view.frames} frames (first "
                f"{self.keys[short[0]]!r} with {self.lengths[short[0]]}); train on shorter clips (clips.frames)"
            )

    def _read(self, takes: Sequence[Take]) -> Array:
        return to_float(np.take(self.stored, self.rows(takes), axis=0), self.dtype)


def _map(path: Path, total: int, dtype: str) -> Array:
    """Map frames.npy into memory after comparing what its head and the index promise with what is there."""
    try:
        with path.open("rb") as file:
            shape, kind, offset = read_header(file, path)
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected the frames of a prepared set") from None
    if kind != stored(dtype):
        raise InputError(f"{path}: got numbers {kind}, expected {stored(dtype)} for {dtype} (dataset.json)")
    if shape[0] != total or not total:
        raise InputError(
            f"{path}: got {shape[0]} frames, expected {total or 'some'} ({CLIPS}); the set is unfinished or damaged: "
            "run the same `diffsda prepare` again"
        )
    expected = offset + bytes_of(total, shape[1:], dtype)
    if size != expected:
        raise InputError(f"{path}: got {size} bytes, expected {expected}: the file is truncated or forged")
    return np.asarray(np.memmap(path, kind, "r", offset, shape))
