"""What precondition must move."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from diffsda.kernels.cost import Cost


def forward(shape: Sequence[int], clip: torch.dtype, network: torch.dtype, sigma: torch.dtype = torch.float32) -> Cost:
    """Count one call for clean and noise of a shape in the clips' dtype and a result in the network's."""
    n = math.prod(shape)
    return Cost(read=2 * n * clip.itemsize + shape[0] * sigma.itemsize, written=n * network.itemsize, flops=3 * n)
