"""Random forests on the values themselves: what the papers put beside features that were learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Floats, Ints, mask, sequences, valid

TREES = 200


def summary(x: Array, missing: Array | None = None, lengths: Ints | None = None) -> Floats:
    """Return for each clip the mean, deviation, least, most and last of what is known of every feature, and its share.

    Shapes: x (N, V, F); missing like x, 1 = missing; lengths (N,); result (N, 6 F), 0 where nothing is known.
    Differs: the papers do not say what their forests are given.
    Raises: InputError if x is not (N, V, F) or the lengths do not fit.
    """
    x = sequences(x, "forest").astype(np.float64)
    if x.ndim != 3:
        raise InputError(f"forest: got clips {x.shape}, expected vectors (N, V, F)")
    known = np.broadcast_to(mask(valid(lengths, *x.shape[:2]), x.shape[1])[:, :, None], x.shape).copy()
    if missing is not None:
        known &= missing == 0
    count = known.sum(1)
    some = np.maximum(count, 1)
    mean = np.where(known, x, 0).sum(1) / some
    deviation = np.sqrt(np.where(known, (x - mean[:, None]) ** 2, 0).sum(1) / some)
    least, most = np.where(known, x, np.inf).min(1), np.where(known, x, -np.inf).max(1)
    place = x.shape[1] - 1 - np.argmax(known[:, ::-1], 1)  # (N, F)
    last = np.take_along_axis(x, place[:, None], 1)[:, 0]
    parts = [np.where(count > 0, part, 0) for part in (mean, deviation, least, most, last)]
    return np.concatenate([*parts, known.mean(1)], 1)


def classes(seed: int = 0) -> Any:
    """Return a forest that tells classes, of 200 trees."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(TREES, random_state=seed, n_jobs=1)


def numbers(seed: int = 0) -> Any:
    """Return a forest that tells numbers, of 200 trees."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(TREES, random_state=seed, n_jobs=1)
