"""What film_layer_norm must move, forward and backward."""

from __future__ import annotations

import torch

from diffsda.kernels.cost import Cost
from diffsda.kernels.film_layer_norm.launches import ONE_PASS

STATISTICS = 3 * 4
"""Bytes a row leaves for the backward: mean, its rest, 1/std."""


def forward(
    rows: int,
    width: int,
    dtype: torch.dtype,
    modulation: torch.dtype | None = None,
    parameters: torch.dtype = torch.float32,
) -> Cost:
    """Count one forward call; ``modulation`` is the type of scale and shift, None without them."""
    n = rows * width
    return Cost(
        read=n * (dtype.itemsize + _modulation(modulation)) + 2 * width * parameters.itemsize,
        written=n * dtype.itemsize + rows * STATISTICS,
        flops=16 * n,
    )


def backward(
    rows: int,
    width: int,
    dtype: torch.dtype,
    modulation: torch.dtype | None = None,
    parameters: torch.dtype = torch.float32,
) -> Cost:
    """Count one backward call; sums on the way (a few rows a multiprocessor) are left out."""
    n = rows * width
    read = n * (2 * dtype.itemsize + _modulation(modulation)) + rows * STATISTICS
    return Cost(
        read=read + 2 * width * parameters.itemsize,
        written=n * (dtype.itemsize + _modulation(modulation)) + 2 * width * parameters.itemsize,
        reread=0 if width <= ONE_PASS else 2 * read,
        flops=32 * n,
    )


def _modulation(dtype: torch.dtype | None) -> int:
    """Return the bytes an element of scale and shift together."""
    return 0 if dtype is None else 2 * dtype.itemsize
