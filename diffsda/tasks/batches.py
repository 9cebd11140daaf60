"""Work through many clips a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from diffsda.disentangler import Disentangler, Progress
from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


class Track(Protocol):
    """Told how much work there is, gives something that watches solver steps go by."""

    def __call__(self, total: int) -> Progress:
        """Return a wrapper of step iterables over ``total`` steps in all."""
        ...


def silent(total: int) -> Progress:
    """Watch nothing."""
    return iter


def slices(clips: int, batch: int) -> Iterator[slice]:
    """Yield slices that cover ``clips`` in parts of ``batch``.

    Raises: InputError for a batch below 1.
    """
    if batch < 1:
        raise InputError(f"batch: got {batch}, expected at least 1 clip")
    for start in range(0, clips, batch):
        yield slice(start, min(start + batch, clips))


def solver_steps(model: Disentangler, steps: int | None) -> int:
    """Return the steps of one way through the solver, none where clips follow from their factors alone."""
    return (steps or model.recipe.sampling.steps) if model.stochastic else 0


def lengths_of(clips: Clips, rows: slice) -> np.ndarray | None:
    """Return the lengths of some clips, or None when all are whole."""
    return None if clips.lengths is None else clips.lengths[rows]


def seeds(seed: int, rows: slice) -> list[int]:
    """Return a seed a clip that does not depend on how the clips are batched."""
    return [seed + i for i in range(rows.start, rows.stop)]
