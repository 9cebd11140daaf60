"""Pictures: how far they are from the original in decibels, clip by clip, and as bytes for judges to look at."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats, finite, mask, valid
from diffsda.evaluate.reconstruction import mse, mse_by_clip


def psnr(x: ArrayLike, y: ArrayLike, *, peak: float, lengths: ArrayLike | None = None) -> float:
    """Return the peak signal-to-noise ratio of the mean squared error over all valid entries, in decibels.

    10 log10(peak² / mse), infinite for identical clips. ``peak`` is the range of the values: 1 for pixels in [0, 1],
    2 in [-1, 1], 255 for bytes. Differs from the mean of the clips' own ratios, which one perfect clip makes infinite;
    those are ``psnr_by_clip``.
    Shapes: x, y (N, V, ...); lengths (N,).
    Raises: InputError as ``mse``, and for a peak that is no positive number.
    """
    return float(decibels(np.array([mse(x, y, lengths)]), peak)[0])


def psnr_by_clip(x: ArrayLike, y: ArrayLike, *, peak: float, lengths: ArrayLike | None = None) -> Floats:
    """Return the peak signal-to-noise ratio of every clip in decibels, (N,); as ``psnr``."""
    return decibels(mse_by_clip(x, y, lengths), peak)


def as_bytes(x: ArrayLike, lengths: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Lay the valid frames of all clips one after the other, as judges look at them.

    Values beyond [-1, 1] are cut off, grey is written three times.
    Shapes: x (N, V, C, H, W) in [-1, 1], C 1 or 3; lengths (N,) -> (M, H, W, 3), M the sum of the lengths.
    Raises: InputError for other shapes, or a valid value that is not finite.
    """
    x = np.asarray(x)
    if x.ndim != 5 or x.shape[2] not in (1, 3):
        raise InputError(f"pixels: got shape {x.shape}, expected (N, V, C, H, W) with 1 or 3 channels")
    keep = mask(valid(lengths, *x.shape[:2]), x.shape[1])
    frames = finite(x[keep].astype(np.float64), "pixels")
    pictures = np.moveaxis(np.round((np.clip(frames, -1, 1) + 1) * 127.5).astype(np.uint8), 1, -1)
    return np.ascontiguousarray(np.broadcast_to(pictures, (*pictures.shape[:-1], 3)))


def decibels(error: Floats, peak: float) -> Floats:
    """Return 10 log10(peak² / error) of mean squared errors; infinite where there is none.

    Raises: InputError for a peak that is no positive number.
    """
    if not (math.isfinite(peak) and peak > 0):
        raise InputError(f"peak: got {peak}, expected the range of the values, a positive number")
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(peak**2 / error), dtype=np.float64)
