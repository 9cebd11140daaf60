"""What attention must move and compute."""

from __future__ import annotations

import torch

from diffsda.kernels.attention.plan import plan
from diffsda.kernels.cost import Cost

_STATISTIC = 4
"""Bytes of a float32."""


def forward(samples: int, tokens: int, channels: int, dtype: torch.dtype) -> Cost:
    """Return the cost of the forward pass on (N, L, C): q, k, v read and o written, two products.

    Read again: k and v by every further block of queries. The log-sum-exp, written for the backward pass, is our
    kernel's own need and counted with that.
    """
    one = samples * tokens * channels * dtype.itemsize
    further = plan(tokens, channels, dtype.itemsize, backward=False).blocks(tokens) - 1
    statistics = samples * tokens * _STATISTIC
    return Cost(3 * one, one, 2 * one * further + statistics, 4 * samples * tokens**2 * channels)


def backward(samples: int, tokens: int, channels: int, dtype: torch.dtype) -> Cost:
    """Return the cost of the backward pass: q, k, v, do read and dq, dk, dv written, five products.

    Read again, where one program has a whole sample: q, k and do, for the second products. Otherwise, in each of
    two kernels: what belongs to the block once, what all blocks share once a block, and what the second products
    take (k; do and q) once a block more; the four tensors' first reading is not counted again.
    Besides, the log-sum-exp read, and delta written and read.
    """
    one = samples * tokens * channels * dtype.itemsize
    statistic = samples * tokens * _STATISTIC
    blocks = plan(tokens, channels, dtype.itemsize, backward=True).blocks(tokens)
    if blocks == 1:
        again, statistics = 3 * one, statistic
    else:
        queries = 2 * one + 2 * one * blocks + one * blocks
        keys = 2 * one + 2 * one * blocks + 2 * one * blocks
        again, statistics = queries + keys - 4 * one, (2 + 2 * blocks) * statistic
    return Cost(4 * one, 3 * one, again + statistics, 10 * samples * tokens**2 * channels)
