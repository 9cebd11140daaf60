"""Mean and deviation of features over more frames than one wants to copy."""

from __future__ import annotations

import numpy as np

from diffsda.data.check import Array
from diffsda.data.stream import Watch, unwatched

ROWS = 1 << 16
"""Frames looked at together."""


def measure(frames: Array, watch: Watch = unwatched) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each feature of frames (total, F), read in blocks; deviation 1 for a constant."""
    total, squares = np.zeros(frames.shape[1]), np.zeros(frames.shape[1])
    starts = range(0, len(frames), ROWS)
    # Measured about a first mean, or the squares would swallow the deviation of bands that hardly vary.
    about = np.asarray(frames[:ROWS], np.float64).mean(0)
    for start in watch(starts, len(starts), "blocks measured"):
        block = np.asarray(frames[start : start + ROWS], np.float64) - about
        total += block.sum(0)
        squares += (block**2).sum(0)
    mean = total / len(frames)
    std = np.sqrt(np.maximum(squares / len(frames) - mean**2, 0))
    return tuple(map(float, mean + about)), tuple(float(s) if s > 0 else 1.0 for s in std)
