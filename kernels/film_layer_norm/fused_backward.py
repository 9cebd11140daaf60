"""film_layer_norm backward: the gradients of x, scale, shift, weight and bias; the forward is worked out again.

Up to W = 4096 a program walks over blocks of ROWS whole rows held in registers (a few programs a multiprocessor,
so that the sums are few), and keeps its share of dweight and dbias there too.
Read: x, dy, and scale and shift where given, once each; three float32 a row. Written: dx, and dscale and dshift
where there is a modulation, once each; two float32 rows of W a program, which a second kernel adds up in a fixed
order, so that every run gives the same bits.
Above W = 4096 a row does not stay in registers: one kernel reads every row twice (the second time from the L2)
for dx, dscale and dshift, another reads x, scale, shift and dy once more, by columns, for dweight and dbias.
Wide like the forward. Float32: everything between the loads and the stores. Largest: W = 16384; any number of rows.
"""

from __future__ import annotations

import triton
import triton.language as tl

from diffsda.kernels import fused_dropout
from diffsda.kernels.fused_access import read, write


@triton.jit
def read_rows(
    dy, x, scale, shift, stats, rows, dy_stride, x_stride, scale_stride, shift_stride, row, column,
    W: tl.constexpr, UNIT: tl.constexpr, MODULATED: tl.constexpr,
):  # fmt: skip
    """Return dy, x, scale, the normalised h and 1/std, float32, for rows (R,) and columns (C,), 0 outside."""
    there = row < rows
    mask = there[:, None] & (column < W)[None, :]
    at = row[:, None]
    cotangent = read(dy, at * (dy_stride * UNIT) + column[None, :], mask, UNIT)
    v = read(x, at * (x_stride * UNIT) + column[None, :], mask, UNIT).to(tl.float32)
    mean = tl.load(stats + row, mask=there, other=0.0)
    rest = tl.load(stats + rows.to(tl.int64) + row, mask=there, other=0.0)
    rstd = tl.load(stats + rows.to(tl.int64) * 2 + row, mask=there, other=0.0)[:, None]
    h = v
    gain = v
    if MODULATED:
        gain = read(scale, at * (scale_stride * UNIT) + column[None, :], mask, UNIT)
        offset = read(shift, at * (shift_stride * UNIT) + column[None, :], mask, UNIT)
        gain = gain.to(tl.float32)
        h = tl.fma(v, gain, offset.to(tl.float32))
    h = (h - mean[:, None] - rest[:, None]) * rstd
    return cotangent.to(tl.float32), v, gain, h, rstd


@triton.jit
def slope(
    dy, h, gamma, beta, state, site, row, start,
    W: tl.constexpr, SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT_SCALE: tl.constexpr,
):  # fmt: skip
    """Return the gradient of z = h gamma + beta given dy, that of dropout(act(z)); tiles from column start on."""
    if THRESHOLD > 0:
        vector = row[:, None] * ((W + 7) // 8) + (start // 8 + tl.arange(0, dy.shape[1] // 8))[None, :]
        dy = tl.where(fused_dropout.kept(state, site, vector, THRESHOLD), dy * KEPT_SCALE, 0.0)
    if SILU:
        z = h * gamma[None, :] + beta[None, :]
        s = tl.sigmoid(z)
        dy = dy * s * (1 + z * (1 - s))
    return dy


@triton.jit
def write_rows(
    dx, dscale, dshift, rows, row, column, dz, v, gain, h, rstd, common, along,
    W: tl.constexpr, UNIT: tl.constexpr, MODULATED: tl.constexpr,
):  # fmt: skip
    """Store the gradients of x, scale and shift; common and along are dz's means, alone and along h."""
    mask = (row < rows)[:, None] & (column < W)[None, :]
    to = row[:, None] * W + column[None, :]
    dh = (dz - common[:, None] - h * along[:, None]) * rstd
    if MODULATED:
        write(dshift, to, dh, mask, UNIT)
        write(dscale, to, dh * v, mask, UNIT)
        dh = dh * gain
    write(dx, to, dh, mask, UNIT)


@triton.jit(do_not_specialize=["rows", "site"])
def film_layer_norm_backward(
    dy, x, weight, bias, scale, shift, stats, state, dx, dscale, dshift, partial,
    rows, dy_stride, x_stride, scale_stride, shift_stride, site,
    W: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, UNIT: tl.constexpr,
    MODULATED: tl.constexpr, SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT_SCALE: tl.constexpr,
):  # fmt: skip
    """Walk over blocks of ROWS rows; the sums for weight and bias go to this program's two rows of partial."""
    column = tl.arange(0, BLOCK)
    inside = column < W
    gamma = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    beta = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    dgamma = tl.zeros((ROWS, BLOCK), tl.float32)
    dbeta = tl.zeros((ROWS, BLOCK), tl.float32)
    for block in range(tl.program_id(0), tl.cdiv(rows, ROWS), tl.num_programs(0)):
        row = block * tl.full((ROWS,), ROWS, tl.int64) + tl.arange(0, ROWS)
        cotangent, v, gain, h, rstd = read_rows(
            dy, x, scale, shift, stats, rows, dy_stride, x_stride, scale_stride, shift_stride, row, column,
            W, UNIT, MODULATED,
        )  # fmt: skip
        dz = slope(cotangent, h, gamma, beta, state, site, row, 0, W, SILU, THRESHOLD, KEPT_SCALE)
        dbeta += dz
        dgamma += dz * h
        dz = dz * gamma[None, :]
        common = tl.sum(dz, axis=1) / W
        along = tl.sum(dz * h, axis=1) / W
        write_rows(dx, dscale, dshift, rows, row, column, dz, v, gain, h, rstd, common, along, W, UNIT, MODULATED)
    place = partial + tl.program_id(0).to(tl.int64) * (2 * W) + column
    tl.store(place, tl.sum(dgamma, axis=0), mask=inside)
    tl.store(place + W, tl.sum(dbeta, axis=0), mask=inside)


@triton.jit(do_not_specialize=["rows", "site"])
def film_layer_norm_backward_rows(
    dy, x, weight, bias, scale, shift, stats, state, dx, dscale, dshift,
    rows, dy_stride, x_stride, scale_stride, shift_stride, site,
    W: tl.constexpr, BLOCK: tl.constexpr, UNIT: tl.constexpr,
    MODULATED: tl.constexpr, SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT_SCALE: tl.constexpr,
):  # fmt: skip
    """Work out dx, dscale and dshift of one wide row, BLOCK columns at a time, in two walks."""
    row = tl.program_id(0).to(tl.int64) + tl.arange(0, 1)
    sum_common = tl.zeros((1, BLOCK), tl.float32)
    sum_along = tl.zeros((1, BLOCK), tl.float32)
    for start in range(0, W, BLOCK):
        column = start + tl.arange(0, BLOCK)
        gamma = tl.load(weight + column, mask=column < W, other=0.0).to(tl.float32)
        beta = tl.load(bias + column, mask=column < W, other=0.0).to(tl.float32)
        cotangent, _, _, h, _ = read_rows(
            dy, x, scale, shift, stats, rows, dy_stride, x_stride, scale_stride, shift_stride, row, column,
            W, UNIT, MODULATED,
        )  # fmt: skip
        dz = slope(cotangent, h, gamma, beta, state, site, row, start, W, SILU, THRESHOLD, KEPT_SCALE)
        dz = dz * gamma[None, :]
        sum_common += dz
        sum_along += dz * h
    common = tl.sum(sum_common, axis=1) / W
    along = tl.sum(sum_along, axis=1) / W
    for start in range(0, W, BLOCK):
        column = start + tl.arange(0, BLOCK)
        gamma = tl.load(weight + column, mask=column < W, other=0.0).to(tl.float32)
        beta = tl.load(bias + column, mask=column < W, other=0.0).to(tl.float32)
        cotangent, v, gain, h, rstd = read_rows(
            dy, x, scale, shift, stats, rows, dy_stride, x_stride, scale_stride, shift_stride, row, column,
            W, UNIT, MODULATED,
        )  # fmt: skip
        dz = slope(cotangent, h, gamma, beta, state, site, row, start, W, SILU, THRESHOLD, KEPT_SCALE)
        dz = dz * gamma[None, :]
        write_rows(dx, dscale, dshift, rows, row, column, dz, v, gain, h, rstd, common, along, W, UNIT, MODULATED)


@triton.jit(do_not_specialize=["rows", "site"])
def film_layer_norm_backward_columns(
    dy, x, weight, bias, scale, shift, stats, state, partial,
    rows, dy_stride, x_stride, scale_stride, shift_stride, site,
    W: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, UNIT: tl.constexpr,
    MODULATED: tl.constexpr, SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT_SCALE: tl.constexpr,
):  # fmt: skip
    """Sum dweight and dbias of BLOCK columns over every num_programs(1)-th block of ROWS rows."""
    start = tl.program_id(0) * BLOCK
    column = start + tl.arange(0, BLOCK)
    inside = column < W
    gamma = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    beta = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    dgamma = tl.zeros((ROWS, BLOCK), tl.float32)
    dbeta = tl.zeros((ROWS, BLOCK), tl.float32)
    for block in range(tl.program_id(1), tl.cdiv(rows, ROWS), tl.num_programs(1)):
        row = block * tl.full((ROWS,), ROWS, tl.int64) + tl.arange(0, ROWS)
        cotangent, _, _, h, _ = read_rows(
            dy, x, scale, shift, stats, rows, dy_stride, x_stride, scale_stride, shift_stride, row, column,
            W, UNIT, MODULATED,
        )  # fmt: skip
        dz = slope(cotangent, h, gamma, beta, state, site, row, start, W, SILU, THRESHOLD, KEPT_SCALE)
        dbeta += dz
        dgamma += dz * h
    place = partial + tl.program_id(1).to(tl.int64) * (2 * W) + column
    tl.store(place, tl.sum(dgamma, axis=0), mask=inside)
    tl.store(place + W, tl.sum(dbeta, axis=0), mask=inside)


@triton.jit
def film_layer_norm_sums(
    partial, dweight, dbias, programs, W: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr
):  # fmt: skip
    """Add up the programs' shares in a fixed order: BLOCK columns of dweight (program_id(1) 0) or dbias (1)."""
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = column < W
    which = tl.program_id(1)
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for start in range(0, programs, ROWS):
        row = start + tl.arange(0, ROWS)
        place = partial + row[:, None].to(tl.int64) * (2 * W) + which * W + column[None, :]
        total += tl.load(place, mask=(row < programs)[:, None] & inside[None, :], other=0.0)
    total = tl.sum(total, axis=0)
    if which == 0:
        tl.store(dweight + column, total.to(dweight.dtype.element_ty), mask=inside)
    else:
        tl.store(dbias + column, total.to(dbias.dtype.element_ty), mask=inside)
