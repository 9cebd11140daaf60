"""The loader on PyAV: any codec that FFmpeg decodes, on the CPU, on threads that read ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from diffsda.data.check import Array
from diffsda.data.video.entry import Entry
from diffsda.data.video.pixels import clip_of
from diffsda.data.video.seek import read_frames
from diffsda.data.video.view import Plan, View

AHEAD = 2
"""Batches worked on beyond the one that is waited for."""
Job = tuple[Entry, Plan]


class PyAVLoader:
    """Decode clips with PyAV, several at a time; every clip opens its file anew, so threads share nothing."""

    def __init__(self, view: View, threads: int | None = None) -> None:
        self.view = view
        self.threads = threads or cores()

    def batches(self, jobs: Iterable[Sequence[Job]]) -> Iterator[Array]:
        """Yield (B, V, 3, size, size) float32 in [-1, 1] for each sequence of B jobs.

        Raises: InputError, by name, for a file that cannot be decoded.
        """
        waiting: deque[tuple[Array, list[Future[None]]]] = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="video")
        try:
            for batch in jobs:
                waiting.append(self._begin(pool, batch))
                if len(waiting) > AHEAD:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _begin(self, pool: ThreadPoolExecutor, batch: Sequence[Job]) -> tuple[Array, list[Future[None]]]:
        size = self.view.size
        clips = np.empty((len(batch), self.view.frames, 3, size, size), np.float32)
        return clips, [pool.submit(self._fill, row, *job) for row, job in zip(clips, batch, strict=True)]

    def _fill(self, row: Array, entry: Entry, plan: Plan) -> None:
        row[:] = decode(entry, plan, self.view.size)


def decode(entry: Entry, plan: Plan, size: int) -> Array:
    """Return one clip (V, 3, size, size), float32 in [-1, 1]."""
    rising = plan.indices[::-1] if plan.backwards else plan.indices
    return clip_of(read_frames(entry.path, rising, entry.frames), plan, size)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finished(clips: Array, parts: list[Future[None]]) -> Array:
    for part in parts:
        part.result()
    return clips
