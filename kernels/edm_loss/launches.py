"""From shapes and layouts to launches: tiles, grids, workspaces of edm_loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffsda.kernels.launch import launch, power_of_two, processors

LARGEST_ROW = 2**30
"""Elements a row may have: places inside a row are 32-bit numbers."""
MOST_CHANNELS = 256
"""Channels a difference in layout takes: a tile holds them all."""
TILE = 2048
"""Elements a program takes at a time, 16 a thread."""
FLAT = 1024
"""The same where all is in one layout: with a mask, 16 a thread spill."""
WAVES = 8
"""Programs a multiprocessor: each leaves one float32 to add up."""
_READABLE = (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8)


def layout(f: Tensor) -> torch.memory_format:
    """Return the layout of f and its gradient; what is neither is copied to contiguous."""
    if f.ndim == 4 and not f.is_contiguous() and f.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def forward(
    f: Tensor,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    mask: Tensor | None,
    real: Tensor | None,
    count: Tensor | None,
    size: float | None,
    sigma_data: float,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss, its gradient but for a factor, in f's layout (empty without ``gradient``), and the factor.

    The sum is divided by the scalar tensor count, else by size, else by the number of elements.
    """
    from diffsda.kernels.edm_loss import fused

    kind = layout(f)
    f, sigma = f.contiguous(memory_format=kind), sigma.contiguous()
    residual = torch.empty_like(f, memory_format=kind) if gradient else f.new_empty((0,))
    mask = None if mask is None else readable(mask)
    real = None if real is None else real.contiguous().view(torch.uint8)
    clips = [t for t in (clean, noise, mask) if t is not None]
    same = all(t.is_contiguous(memory_format=kind) for t in clips)
    if not same:
        clean, noise = clean.contiguous(), noise.contiguous()
        mask = None if mask is None else mask.contiguous()

    rows, row = f.shape[0], math.prod(f.shape[1:])
    size = float(rows * row) if size is None else size
    counted = {"COUNTED": count is not None}
    flags = {"MASKED": mask is not None, "PADDED": real is not None, "WRITE": gradient, **counted}
    tensors: dict[str, Any] = {
        "f": f, "clean": clean, "noise": noise, "sigma": sigma, "missing": mask, "real": real,
        "count": count, "residual": residual if gradient else None,
    }  # fmt: skip
    if same or kind == torch.contiguous_format:
        unit = math.gcd(8, rows * row)
        kernel, number = fused.edm_loss_flat, {"vectors": rows * row // unit}
        tiles = -(-rows * row // FLAT)
        constants = {"ROW": max(1, row), "VECTORS": FLAT // max(1, unit), "UNIT": max(1, unit)}
    elif f.shape[1] == 3 and row // 3 % 8 == 0:
        kernel, number = fused.edm_loss_woven, {"groups": rows * row // 24}
        tiles = -(-rows * row // (24 * (TILE // 16)))
        constants = {"PER_IMAGE": max(1, row // 24), "GROUPS": TILE // 16}
    else:
        channels, pixels = f.shape[1], max(1, row // max(1, f.shape[1]))
        padded = power_of_two(channels)
        tile = min(power_of_two(pixels), max(1, TILE // padded))
        kernel, number = fused.edm_loss_tiled, {"images": rows}
        tiles = rows * -(-pixels // tile)
        constants = {"C": channels, "HW": pixels, "CHANNELS": padded, "PIXELS": tile}
    programs = max(1, min(tiles, WAVES * processors(f.device)))
    partial = torch.empty((programs,), dtype=torch.float32, device=f.device)
    launch(
        kernel,
        (programs,),
        {**tensors, "partial": partial, **number, "sigma_data": sigma_data, "size": size},
        {**constants, **flags},
        warps=4,
        registers=255,
    )
    loss, factor = (torch.empty((), dtype=torch.float32, device=f.device) for _ in range(2))
    sums: dict[str, Any] = {"partial": partial, "count": count, "loss": loss, "factor": factor}
    launch(
        fused.edm_loss_total,
        (1,),
        {**sums, "programs": programs, "size": size},
        {"BLOCK": min(1024, power_of_two(programs)), **counted},
        warps=4,
        registers=255,
    )
    return loss, residual, factor


def backward(dloss: Tensor, residual: Tensor, factor: Tensor) -> Tensor:
    """Return the gradient of f: what the forward wrote times the incoming gradient and the factor."""
    from diffsda.kernels.edm_loss import fused

    df = torch.empty(residual.shape, dtype=residual.dtype, device=residual.device, memory_format=layout(residual))
    if not df.numel():
        return df
    unit = math.gcd(8, df.numel())
    vectors = df.numel() // unit
    launch(
        fused.edm_loss_backward,
        (-(-vectors // (TILE // unit)),),
        {"dloss": dloss, "residual": residual, "factor": factor, "df": df, "vectors": vectors},
        {"VECTORS": TILE // unit, "UNIT": unit},
        warps=4,
        registers=255,
    )
    return df


def readable(mask: Tensor) -> Tensor:
    """Return the mask in a type that kernels read, 1 where a value is missing."""
    if mask.dtype in _READABLE:
        return mask
    return (mask if mask.dtype == torch.bool else mask == 1).view(torch.uint8)
