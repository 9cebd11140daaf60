"""Z-scores of series with missing values."""

from __future__ import annotations

import numpy as np

from diffsda.data.check import Array


def zscore(x: Array, known: Array, rows: Array) -> tuple[Array, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the series with mean 0 and deviation 1 a feature, and the means and deviations they had.

    Shapes: x (N, V, F), known (N, V, F) bool; rows: the training part, whose known values alone are measured. What is
    not known becomes 0, the mean.
    Source: the authors' mean_zero normalisation; the deviation is the unbiased one, and 1 for a feature that is
    constant or never seen.
    """
    fit, seen = x[rows].astype(np.float64), known[rows]
    count = seen.sum((0, 1))
    mean = np.where(seen, fit, 0).sum((0, 1)) / np.maximum(count, 1)
    squares = (np.where(seen, fit - mean, 0) ** 2).sum((0, 1))
    std = np.sqrt(squares / np.maximum(count - 1, 1))
    std = np.where(std > 0, std, 1.0)
    scored = np.where(known, (np.where(known, x, 0) - mean) / std, 0).astype(np.float32)
    return scored, (tuple(map(float, mean)), tuple(map(float, std)))
