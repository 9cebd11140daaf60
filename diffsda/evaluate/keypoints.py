"""Average keypoint distance (AKD): how far the points of a face or a body are from where they should be."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats
from diffsda.evaluate.measured import Measured

Table = Literal["swap", "reconstruction"]


def average_keypoint_distance(
    made: ArrayLike, real: ArrayLike, as_published: bool = False, *, table: Table = "swap"
) -> Measured:
    """Average the L1 distance of key points over all points that were found in both pictures, in pixels.

    The share that was missed is of points. Frames without a face fall out of the mean, so a value says little where
    the missed share is large.

    ``as_published`` counts as the authors' code does: the mean goes over the two coordinates as well, which halves the
    distance, and in the ``table`` of reconstructions a point found in ``real`` but not in ``made`` counts as distance
    0. Swaps drop what is missing from either.

    Shapes: made, real (..., K, 2) with at least one axis of frames before K; NaN for both coordinates of a point that
    was not found.
    Source: DiffSDA appendix E; the authors' code for ``as_published``. Differs from that code: where no point is found
    in both, the value is NaN, not 0.
    Raises: InputError if shapes differ, there is no frame, a point has one coordinate only, or one is infinite.
    """
    if table not in ("swap", "reconstruction"):
        raise InputError(f"table: got {table!r}, expected 'swap' or 'reconstruction'")
    a, b = _points(made, "made"), _points(real, "real")
    if np.shape(made) != np.shape(real):
        raise InputError(f"keypoints: got {np.shape(made)} and {np.shape(real)}, expected the same shape")
    here, there = np.isfinite(a).all(axis=-1), np.isfinite(b).all(axis=-1)  # (N, K)
    both = here & there
    missed = 1 - float(both.mean())
    if not both.any():
        return Measured(float("nan"), 1.0, len(a))
    distance = np.abs(a[both] - b[both]).sum(axis=-1)
    if not as_published:
        return Measured(float(distance.mean()), missed, len(a))
    counted = there if table == "reconstruction" else both
    return Measured(float(distance.sum() / 2 / counted.sum()), missed, len(a))


def _points(given: ArrayLike, name: str) -> Floats:
    """Return points (N, K, 2), frames in one row."""
    points = np.asarray(given, dtype=np.float64)
    if points.ndim < 3 or points.shape[-1] != 2 or 0 in points.shape:
        raise InputError(f"keypoints {name}: got shape {points.shape}, expected (N, K, 2) with N and K at least 1")
    flat = points.reshape(-1, *points.shape[-2:])
    if np.isinf(flat).any() or (np.isnan(flat[..., 0]) != np.isnan(flat[..., 1])).any():
        raise InputError(f"keypoints {name}: got a point that is half NaN or infinite, expected two numbers or two NaN")
    return flat
