"""Clips of a stream as a run wants them: whitened, step by step, of this process alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from diffsda.firststage.whiten import Whitening
from diffsda.train.data import Batch
from diffsda.train.order import Order, seed_for

if TYPE_CHECKING:
    from diffsda.data.stream import Stream, Take

VIEW_STREAM = 3
"""Random numbers of what is taken of an item; four words in a seed keep them from a step's, which have three."""


class Streamed:
    """Deal out a stream's clips by step.

    A clip's view depends on the run's seed and on its place among all that the run takes, nothing else: a run that
    goes on, and one over more processes, sees the same.
    """

    def __init__(self, stream: Stream, whitening: Whitening | None, order: Order) -> None:
        self.stream, self.whitening, self.order = stream, whitening, order

    def __len__(self) -> int:
        return len(self.stream)

    @property
    def frames(self) -> int:
        """Return V."""
        return self.stream.shape[0]

    def describe(self) -> str:
        """Say in one line what reads the clips, and why that."""
        return self.stream.describe()

    def takes(self, step: int, rows: slice) -> list[Take]:
        """Return what rows of a step's batch are taken from."""
        from diffsda.data.stream import Take

        first, seed = step * self.order.batch + rows.start, self.order.seed
        items = self.order.indices(step)[rows].tolist()
        return [Take(item, seed_for(seed, first + place, item, VIEW_STREAM)) for place, item in enumerate(items)]

    def supply(self, steps: Sequence[int], parts: Sequence[slice]) -> Callable[[int], Batch]:
        """Return what makes the batches of these steps, asked for in their order: of all parts' rows, no others."""
        rows = slice(parts[0].start, parts[-1].stop)
        read: Iterator[Any] = self.stream.batches(self.takes(step, rows) for step in steps)
        return lambda step: self._batch(next(read), rows)

    def batch(self, step: int) -> Batch:
        """Read a step's whole batch anew."""
        rows = slice(0, self.order.batch)
        return self._batch(next(iter(self.stream.batches([self.takes(step, rows)]))), rows)

    def _batch(self, x: Any, rows: slice) -> Batch:
        x = x if isinstance(x, torch.Tensor) else torch.from_numpy(x)
        if self.whitening is not None:
            x = self.whitening.apply(x)
        return Batch(x, first=rows.start, whole=self.order.batch)
