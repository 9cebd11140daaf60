"""Clips of unequal length in one padded array: which entries count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffsda.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Array = NDArray[Any]


def valid(lengths: ArrayLike | None, clips: int, frames: int, name: str = "lengths") -> Ints:
    """Return the number of valid frames of each clip; None means that all are.

    Shapes: lengths (N,), whole numbers in 1..V; result (N,).
    Raises: InputError if there is no clip, or the lengths are not N whole numbers in 1..V.
    """
    if clips < 1 or frames < 1:
        raise InputError(f"{name}: got {clips} clips of {frames} frames, expected at least one of each")
    if lengths is None:
        return np.full(clips, frames, dtype=np.int64)
    given = np.asarray(lengths)
    if given.shape != (clips,) or given.dtype.kind not in "iu":
        raise InputError(
            f"{name}: got {given.dtype} of shape {given.shape}, expected {clips} whole numbers, one a clip"
        )
    if given.min() < 1 or given.max() > frames:
        raise InputError(f"{name}: got values from {given.min()} to {given.max()}, expected 1 to {frames} (all frames)")
    return given.astype(np.int64)


def mask(lengths: Ints, frames: int) -> NDArray[np.bool_]:
    """Return (N, V), true where a frame is valid."""
    return np.arange(frames)[None, :] < lengths[:, None]


def sequences(z: ArrayLike, name: str) -> Array:
    """Read z as clips, without a copy.

    Shapes: z (N, V, ...), at least three axes.
    Raises: InputError if there are fewer axes.
    """
    array = np.asarray(z)
    if array.ndim < 3:
        raise InputError(f"{name}: got shape {array.shape}, expected clips (N, V, D) or (N, V, C, H, W)")
    return array


def finite(z: Floats, name: str) -> Floats:
    """Return z as it came.

    Raises: InputError if a value is NaN or infinite; a metric of such values would be a made-up number.
    """
    bad = int(z.size - np.isfinite(z).sum())
    if bad:
        raise InputError(f"{name}: {bad} of {z.size} valid values are not finite, expected numbers only")
    return z
