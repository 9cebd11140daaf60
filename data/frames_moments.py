"""Mean and standard deviation a channel, gathered part by part in float64."""

from __future__ import annotations

import numpy as np

from diffsda.data.check import Array

SMALLEST = 1e-6
"""A deviation below this share of the mean is no more than what float32 rounds away."""


class Moments:
    """Count, mean and summed squares of deviations of every channel over all that was added.

    Parts are merged exactly as if they were one (Chan, Golub and LeVeque 1979): nothing is lost to a large mean.
    """

    def __init__(self, channels: int) -> None:
        self.count = np.zeros(channels)
        self.mean = np.zeros(channels)
        self.squares = np.zeros(channels)

    def add(self, frames: Array, keep: Array | None = None) -> None:
        """Add frames (n, C) or (n, C, H, W); keep: booleans of the same shape, False for what does not count."""
        axes = (0, *range(2, frames.ndim))
        x = frames.astype(np.float64)
        there = np.ones(1) if keep is None else keep
        count = np.broadcast_to(there, x.shape).sum(axes, dtype=np.float64)
        least = np.maximum(count, 1)
        mean = np.where(there, x, 0).sum(axes) / least
        squares = (np.where(there, x - mean.reshape((1, -1) + (1,) * (x.ndim - 2)), 0) ** 2).sum(axes)
        total = self.count + count
        shift = mean - self.mean
        self.squares += squares + shift**2 * self.count * count / np.maximum(total, 1)
        self.mean += shift * count / np.maximum(total, 1)
        self.count = total

    @property
    def std(self) -> Array:
        """Standard deviation of every channel as it is, 0 where it never varies."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and deviation for whitening: a channel that never varies has deviation 1."""
        std = np.where(self.degenerate(), 1.0, self.std)
        return tuple(self.mean.tolist()), tuple(std.tolist())

    def degenerate(self) -> Array:
        """Return which channels (C,) do not vary by more than rounding."""
        return self.std <= SMALLEST * np.abs(self.mean)
