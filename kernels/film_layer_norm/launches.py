"""From shapes to launches: block sizes, grids, workspaces of film_layer_norm."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor

from diffsda.kernels.dropout import kept_scale, threshold
from diffsda.kernels.launch import launch, power_of_two, processors

Rows = TypeVar("Rows", Tensor, Tensor | None)

WIDEST = 16384
"""Columns a row may have: the forward holds a row in the registers of one program."""
ONE_PASS = 4096
"""Columns up to which the backward does too, with its sums."""
FORWARD_TILE = 2048
BACKWARD_TILE = 2048
"""Elements a program holds at a time where rows are narrow: 16 a thread, in the backward 8 beside its sums."""
COLUMNS = 512
"""Columns a program of the backward takes at a time where rows are wider than ONE_PASS."""
WARPS = 16
"""Warps a multiprocessor in the backward, all resident at 128 registers: every program leaves two float32 rows to
add up, so there are no more programs than run at once."""


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    state: Tensor | None,
    silu: bool,
    eps: float,
    dropout: float,
    site: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the statistics (3, N) and the (seed, offset) that dropout read (empty without dropout)."""
    from diffsda.kernels.film_layer_norm import fused_forward

    rows, width = x.shape
    x, scale, shift = rows_of(x), rows_of(scale), rows_of(shift)
    y = torch.empty((rows, width), dtype=x.dtype, device=x.device)
    stats = torch.empty((3, rows), dtype=torch.float32, device=x.device)
    drop = threshold(dropout)
    drawn = torch.empty((2 if drop else 0,), dtype=torch.int64, device=x.device)
    if not rows and drop and state is not None:
        drawn.copy_(state)
    block = max(16, power_of_two(width))
    many = max(1, FORWARD_TILE // block)
    strides, unit = row_strides(width, x_stride=x, scale_stride=scale, shift_stride=shift)
    launch(
        fused_forward.film_layer_norm_forward,
        (-(-rows // many),),
        {
            "x": x, "weight": weight.contiguous(), "bias": bias.contiguous(), "scale": scale, "shift": shift,
            "state": state if drop else None, "y": y, "stats": stats, "drawn": drawn if drop else None,
            "rows": rows, **strides, "site": site, "eps": eps,
        },
        {"W": width, "BLOCK": block, "ROWS": many, "UNIT": unit, **flags(scale, silu, dropout)},
        warps=min(16, max(4, block * many // 512)),
    )  # fmt: skip
    return y, stats, drawn


def backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    stats: Tensor,
    state: Tensor,
    silu: bool,
    dropout: float,
    site: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight, bias, scale and shift (the last two empty without modulation)."""
    from diffsda.kernels.film_layer_norm import fused_backward

    rows, width = x.shape
    dy, x, scale, shift = rows_of(dy), rows_of(x), rows_of(scale), rows_of(shift)
    dx = torch.empty((rows, width), dtype=x.dtype, device=x.device)
    dscale, dshift = (
        torch.empty((rows, width), dtype=t.dtype, device=x.device) if t is not None else x.new_empty((0,))
        for t in (scale, shift)
    )
    dweight, dbias = (torch.empty((width,), dtype=t.dtype, device=x.device) for t in (weight, bias))
    strides, unit = row_strides(width, dy_stride=dy, x_stride=x, scale_stride=scale, shift_stride=shift)
    block = max(16, power_of_two(width))
    wide = width > ONE_PASS
    many = 2 if wide else max(1, BACKWARD_TILE // block)
    tiles = -(-width // COLUMNS) if wide else 1
    warps = 4 if wide else min(16, max(4, block * many // 256))
    programs = max(1, min(-(-rows // many), WARPS // warps * processors(x.device) // tiles))
    partial = torch.empty((programs, 2, width), dtype=torch.float32, device=x.device)
    inputs: dict[str, Any] = {
        "dy": dy, "x": x, "weight": weight.contiguous(), "bias": bias.contiguous(), "scale": scale,
        "shift": shift, "stats": stats, "state": state if threshold(dropout) else None,
    }  # fmt: skip
    modulated = scale is not None
    outputs: dict[str, Any] = {
        "dx": dx,
        "dscale": dscale if modulated else None,
        "dshift": dshift if modulated else None,
    }
    sizes = {"rows": rows, **strides, "site": site}
    constants = {"W": width, "UNIT": unit, **flags(scale, silu, dropout)}
    if not wide:
        launch(
            fused_backward.film_layer_norm_backward,
            (programs,),
            {**inputs, **outputs, "partial": partial, **sizes},
            {**constants, "BLOCK": block, "ROWS": many},
            warps=warps,
            registers=65536 // (32 * WARPS),
        )
    else:
        launch(
            fused_backward.film_layer_norm_backward_rows,
            (rows,),
            {**inputs, **outputs, **sizes},
            {**constants, "BLOCK": 4 * COLUMNS},
            warps=8,
        )
        launch(
            fused_backward.film_layer_norm_backward_columns,
            (tiles, programs),
            {**inputs, "partial": partial, **sizes},
            {**constants, "BLOCK": COLUMNS, "ROWS": many},
            warps=warps,
        )
    columns = min(32, block)
    launch(
        fused_backward.film_layer_norm_sums,
        (-(-width // columns), 2),
        {"partial": partial, "dweight": dweight, "dbias": dbias, "programs": programs},
        {"W": width, "BLOCK": columns, "ROWS": min(128, power_of_two(programs))},
        warps=4,
    )
    return dx, dweight, dbias, dscale, dshift


def flags(scale: Tensor | None, silu: bool, dropout: float) -> dict[str, Any]:
    """Return the compile-time switches that forward and backward share."""
    return {
        "MODULATED": scale is not None,
        "SILU": silu,
        "THRESHOLD": threshold(dropout),
        "KEPT_SCALE": kept_scale(dropout),
    }


def rows_of(tensor: Rows) -> Rows:
    """Return the tensor, copied if its rows are not contiguous; columns of a wider tensor stay where they are."""
    if tensor is None or tensor.stride(1) == 1 or tensor.shape[1] == 1:
        return tensor
    return tensor.contiguous()


def row_strides(width: int, **tensors: Tensor | None) -> tuple[dict[str, int], int]:
    """Return the row strides by name in units of the second result, their common divisor of at most 8.

    Eight 16-bit elements are the 16 bytes of one wide access.
    """
    strides = {n: 0 if t is None else t.stride(0) if t.shape[0] > 1 else width for n, t in tensors.items()}
    unit = math.gcd(8, width, *strides.values())
    return {n: s // unit for n, s in strides.items()}, unit
