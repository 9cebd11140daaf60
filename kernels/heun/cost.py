"""What heun's two halves must move."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from diffsda.kernels.cost import Cost


def predict(shape: Sequence[int], network: torch.dtype, state: torch.dtype = torch.float32) -> Cost:
    """Return the cost of ``heun_predict`` for a state of a shape and f and out in the network's dtype."""
    n = math.prod(shape)
    return Cost(read=n * (state.itemsize + network.itemsize), written=n * network.itemsize, flops=3 * n)


def correct(
    shape: Sequence[int],
    network: torch.dtype,
    state: torch.dtype = torch.float32,
    *,
    second: bool = True,
    out: bool = True,
) -> Cost:
    """Return the cost of ``heun_correct``, with or without a second slope and a next input."""
    n = math.prod(shape)
    return Cost(
        read=n * (state.itemsize + network.itemsize * (1 + second)),
        written=n * (state.itemsize + network.itemsize * out),
        flops=n * (3 + 2 * second + out),
    )
