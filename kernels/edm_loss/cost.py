"""What edm_loss must move, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from diffsda.kernels.cost import Cost


def forward(
    shape: Sequence[int],
    network: torch.dtype,
    clip: torch.dtype = torch.float32,
    *,
    mask: torch.dtype | None = None,
    real: bool = False,
    count: bool = False,
    gradient: bool = True,
) -> Cost:
    """Count one call: f in the network's dtype, clean and noise in the clips', sigma in float32.

    ``gradient``: f asks for one, and is written once in its own dtype.
    """
    n = math.prod(shape)
    masked = 0 if mask is None else mask.itemsize
    rows = shape[0] * (torch.float32.itemsize + real)
    return Cost(
        read=n * (network.itemsize + 2 * clip.itemsize + masked) + rows + 4 * count,
        written=n * network.itemsize * gradient + 8,
        flops=8 * n,
    )


def backward(shape: Sequence[int], network: torch.dtype) -> Cost:
    """Count the scaling of what the forward wrote by the incoming gradient."""
    n = math.prod(shape)
    return Cost(read=n * network.itemsize + 8, written=n * network.itemsize, flops=n)
