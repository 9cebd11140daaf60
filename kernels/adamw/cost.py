"""What adamw must move."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from diffsda.kernels.cost import Cost


def step(
    sizes: Sequence[int],
    grads: torch.dtype = torch.float32,
    *,
    averaged: bool = True,
    copies: torch.dtype | None = torch.bfloat16,
) -> Cost:
    """Return the cost of one update of float32 parameters of these sizes.

    Useful: 38 bytes a parameter with float32 gradients, averages and bfloat16 copies, 28 without the last two.
    Our kernels read the gradients twice, since the norm of all has to be known before the first can be used.
    """
    n = sum(sizes)
    copied = 0 if copies is None else copies.itemsize
    return Cost(
        read=n * (12 + grads.itemsize + 4 * averaged),
        written=n * (12 + 4 * averaged + copied),
        reread=n * grads.itemsize,
        flops=n * (18 + 3 * averaged),
    )
