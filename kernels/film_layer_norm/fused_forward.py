"""film_layer_norm forward: one read of x, scale and shift, one write of y.

One program covers ROWS whole rows (2048 elements where rows are narrow), held in registers.
Read: x, and scale and shift where given, once each, by row stride; weight and bias once a program, from the L2.
Written: y once; per row three float32 (mean, what rounding left of it, 1/std).
Float32: everything between the loads and the store. The mean is taken out in two steps: the second removes the
rounding error of the first, which at a mean of 1e4 is half a hundredth of a standard deviation of 0.1.
Accesses are 16 bytes wide where rows start at such multiples: W and row strides a multiple of 8 (of 4 in float32).
Largest: W = 16384; any number of rows.
"""

from __future__ import annotations

import triton
import triton.language as tl

from diffsda.kernels import fused_dropout
from diffsda.kernels.fused_access import read, write


@triton.jit(do_not_specialize=["rows", "site"])
def film_layer_norm_forward(
    x, weight, bias, scale, shift, state, y, stats, drawn,
    rows, x_stride, scale_stride, shift_stride, site, eps,
    W: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, UNIT: tl.constexpr,
    MODULATED: tl.constexpr, SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT_SCALE: tl.constexpr,
):  # fmt: skip
    """Normalise ROWS rows; strides are in units of UNIT elements, so that the compiler knows their divisor."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    there = row < rows
    inside = column < W
    mask = there[:, None] & inside[None, :]
    at = row[:, None]

    h = read(x, at * (x_stride * UNIT) + column[None, :], mask, UNIT).to(tl.float32)
    if MODULATED:
        gain = read(scale, at * (scale_stride * UNIT) + column[None, :], mask, UNIT)
        offset = read(shift, at * (shift_stride * UNIT) + column[None, :], mask, UNIT)
        h = tl.fma(h, gain.to(tl.float32), offset.to(tl.float32))

    mean = tl.sum(h, axis=1) / W
    h = tl.where(inside[None, :], h - mean[:, None], 0.0)
    rest = tl.sum(h, axis=1) / W
    h = tl.where(inside[None, :], h - rest[:, None], 0.0)
    rstd = 1 / tl.sqrt(tl.sum(h * h, axis=1) / W + eps)
    tl.store(stats + row, mean, mask=there)
    tl.store(stats + rows.to(tl.int64) + row, rest, mask=there)
    tl.store(stats + rows.to(tl.int64) * 2 + row, rstd, mask=there)

    gamma = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    beta = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    z = h * rstd[:, None] * gamma[None, :] + beta[None, :]
    if SILU:
        z = z * tl.sigmoid(z)
    if THRESHOLD > 0:
        vector = at * ((W + 7) // 8) + tl.arange(0, BLOCK // 8)[None, :]
        z = tl.where(fused_dropout.kept(state, site, vector, THRESHOLD), z * KEPT_SCALE, 0.0)
        if tl.program_id(0) == 0:
            tl.store(drawn, tl.load(state))
            tl.store(drawn + 1, tl.load(state + 1))
    write(y, at * W + column[None, :], z, mask, UNIT)
