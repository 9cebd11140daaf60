"""How far a clip that was taken apart and put together again is from the original."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import finite, valid


def mse(x: ArrayLike, y: ArrayLike, lengths: ArrayLike | None = None) -> float:
    """Return the mean squared difference over valid entries, in the square of the data's unit.

    Every entry weighs the same, so a longer clip weighs more. Clips are summed one at a time in float64.

    Shapes: x, y (N, V, ...); lengths (N,), the same for both.
    Source: the reconstruction columns of the paper's tables.
    Raises: InputError if the shapes differ, or a valid value is not finite.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or x.ndim < 3:
        raise InputError(f"mse: got {x.shape} and {y.shape}, expected the same shape (N, V, ...)")
    total, entries = 0.0, 0
    for a, b, n in zip(x, y, valid(lengths, *x.shape[:2]), strict=True):
        # Cast before subtracting: uint8 pictures would wrap around.
        gap = finite(a[:n].astype(np.float64) - b[:n].astype(np.float64), "mse")
        total += float(np.vdot(gap, gap))
        entries += gap.size
    return total / entries
