"""Do two clips move alike, whatever they look like at rest?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Floats, finite, sequences, valid
from diffsda.evaluate.probe import resample


def centred_cosine(
    x: ArrayLike, y: ArrayLike, x_lengths: ArrayLike | None = None, y_lengths: ArrayLike | None = None
) -> Floats:
    """Return the cosine of the motions of x and y, clip by clip, in [-1, 1].

    The time mean of each clip's valid part is taken away, y is brought to x's length by linear
    resampling where they differ, and the cosine is over all frames and features at once.
    A clip without motion has no direction: its cosine is 0, as for unrelated motions.

    Shapes: x (N, V, ...), y (N, W, ...) with the same trailing axes; lengths (N,); result (N,).
    Raises: InputError if clips or trailing axes differ, or a valid value is not finite.
    """
    x, y = sequences(x, "trajectory x"), sequences(y, "trajectory y")
    if len(x) != len(y) or x.shape[2:] != y.shape[2:]:
        raise InputError(
            f"trajectory: got {x.shape} and {y.shape}, expected the same number of clips and the same frames"
        )
    x_count = valid(x_lengths, x.shape[0], x.shape[1], "x_lengths")
    y_count = valid(y_lengths, y.shape[0], y.shape[1], "y_lengths")
    cosines = np.zeros(len(x))
    for i, (n, m) in enumerate(zip(x_count, y_count, strict=True)):
        a, b = _motion(x[i, :n], "trajectory x"), _motion(y[i, :m], "trajectory y")
        if n == 1 or m == 1:
            continue  # one frame cannot move
        if n != m:
            b = resample(b[None], steps=int(n))[0]
        size = np.linalg.norm(a) * np.linalg.norm(b)
        cosines[i] = np.clip(np.vdot(a, b) / size, -1.0, 1.0) if size > 0 else 0.0
    return cosines


def _motion(clip: Array, name: str) -> Floats:
    """Take the time mean away; what only round-off tells from standing still stands still."""
    clip = finite(clip.astype(np.float64), name)
    moved = clip - clip.mean(axis=0)
    return moved if np.linalg.norm(moved) > 1e-12 * np.linalg.norm(clip) else np.zeros_like(clip)
