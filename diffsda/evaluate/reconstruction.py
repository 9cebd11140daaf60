"""How far a clip that was taken apart and put together again is from the original."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats, Ints, finite, valid


def mse(x: ArrayLike, y: ArrayLike, lengths: ArrayLike | None = None, missing: ArrayLike | None = None) -> float:
    """Return the mean squared difference over valid entries, in the square of the data's unit.

    Every entry weighs the same, so a longer clip weighs more. Clips are summed one at a time in float64.

    Shapes: x, y (N, V, ...); lengths (N,), the same for both; missing like x, 1 where there is no value to compare.
    Source: the reconstruction columns of the paper's tables.
    Raises: InputError if the shapes differ, a valid value is not finite, or all are missing.
    """
    total, entries = squared_error(x, y, lengths, missing)
    if not entries.any():
        raise InputError("mse: got clips of which every value is missing, expected at least one to compare")
    return float(total.sum() / entries.sum())


def mse_by_clip(
    x: ArrayLike, y: ArrayLike, lengths: ArrayLike | None = None, missing: ArrayLike | None = None
) -> Floats:
    """Return the mean squared difference of every clip over its valid entries, (N,); NaN where all are missing.

    Shapes: as ``mse``.
    """
    total, entries = squared_error(x, y, lengths, missing)
    return np.where(entries > 0, total / np.maximum(entries, 1), np.nan)


def squared_error(
    x: ArrayLike, y: ArrayLike, lengths: ArrayLike | None = None, missing: ArrayLike | None = None
) -> tuple[Floats, Ints]:
    """Return the summed squared difference of every clip (N,), and over how many entries (N,).

    What an average over parts of a set is made of. Shapes and raises: as ``mse``.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or x.ndim < 3:
        raise InputError(f"mse: got {x.shape} and {y.shape}, expected the same shape (N, V, ...)")
    gone = None if missing is None else np.asarray(missing) == 1
    if gone is not None and gone.shape != x.shape:
        raise InputError(f"mse: got missing {gone.shape}, expected {x.shape} like the clips")
    count = valid(lengths, *x.shape[:2])
    total, entries = np.zeros(len(x)), np.zeros(len(x), np.int64)
    for i, (a, b, n) in enumerate(zip(x, y, count, strict=True)):
        # Cast before subtracting: uint8 pictures would wrap around.
        gap = a[:n].astype(np.float64) - b[:n].astype(np.float64)
        gap = finite(gap if gone is None else gap[~gone[i, :n]], "mse")
        total[i], entries[i] = np.vdot(gap, gap), gap.size
    return total, entries
