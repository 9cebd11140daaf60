"""Triton kernels of group_norm's backward pass.

Everything but x, mean and rstd is worked out again. With z the value before the activation, dz its gradient and
xh the normalised x, two sums a sample and channel hold all that is needed: S0 = sum dz and S1 = sum dz xh. They
give dscale and dshift at once, dweight and dbias after a sum over samples, and, put together by group, the two
means that dx needs.

``gradients``: a program covers a slab of one sample and reads x and dy twice, the second time from the L2 cache:
6 useful bytes an element in bf16, 10 moved; with RESIDENT 6. ``collect`` and ``spread``: the same with the pixels of
a slab split over programs. ``over_samples``: dweight and dbias, in a fixed order.

Float32: everything between loads and stores. Largest sample: 2^31 - 1 elements; any number of samples.
"""

from __future__ import annotations

import triton
import triton.language as tl

from diffsda.kernels.group_norm.fused_tile import (
    affine,
    by_channel,
    by_group,
    groups_at,
    keeps,
    load,
    members,
    offsets,
    slab_of,
    slope,
)


@triton.jit
def tile(
    x, skip, dy, state, site, n, p, live, c, c0, real, centre, inverse, gain, offset, first, P,
    C1: tl.constexpr, C2: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr, SILU: tl.constexpr,
    THRESHOLD: tl.constexpr, KEPT: tl.constexpr,
):  # fmt: skip
    """Return dz and xh of a tile; both are 0 where nothing is."""
    C: tl.constexpr = C1 + C2
    here = live[:, None] & real[None, :]
    where = dy + n * P * C + offsets(p, c, P, C, LAST)
    dz = tl.load(where, mask=here, other=0.0).to(tl.float32)  # wide
    v = load(x, skip, n, p, c, live, real, P, C1, C2, LAST)
    xh = tl.where(here, (v - centre[None, :]) * inverse[None, :], 0.0)
    if THRESHOLD > 0:
        dz = tl.where(keeps(state, site, n, first, c0, P, C, BP, BC, LAST, THRESHOLD), dz * KEPT, 0.0)
    if SILU:
        dz *= slope(xh * gain[None, :] + offset[None, :])
    return dz, xh


@triton.jit
def scatter(
    dx, dskip, value, n, p, live, c, real, P,
    C1: tl.constexpr, C2: tl.constexpr, LAST: tl.constexpr,
):  # fmt: skip
    """Store a tile of dx, channels from C1 on in ``dskip``."""
    if C2 == 0:
        where = dx + n * P * C1 + offsets(p, c, P, C1, LAST)
        tl.store(where, value.to(dx.dtype.element_ty), mask=live[:, None] & real[None, :])  # wide
    else:
        first = dx + n * P * C1 + offsets(p, c, P, C1, LAST)
        second = dskip + n * P * C2 + offsets(p, c - C1, P, C2, LAST)
        tl.store(first, value.to(dx.dtype.element_ty), mask=live[:, None] & (real & (c < C1))[None, :])  # wide
        tl.store(second, value.to(dx.dtype.element_ty), mask=live[:, None] & (real & (c >= C1))[None, :])  # wide


@triton.jit
def modulation(weight, bias, dscale, dshift, n, c, real, s0, s1, C: tl.constexpr):
    """Store the gradients of scale and shift."""
    w = tl.load(weight + c, mask=real, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=real, other=0.0).to(tl.float32)
    tl.store(dscale + n * C + c, (w * s1 + b * s0).to(dscale.dtype.element_ty), mask=real)
    tl.store(dshift + n * C + c, s0.to(dshift.dtype.element_ty), mask=real)


@triton.jit(do_not_specialize=["site"])
def gradients(
    x, skip, dy, weight, bias, scale, shift, mean, rstd, dx, dskip, dscale, dshift, sums, state, site,
    scale_row, shift_row, P, plane,
    C1: tl.constexpr, C2: tl.constexpr, CG: tl.constexpr, SLAB: tl.constexpr, GB: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, RESIDENT: tl.constexpr, LAST: tl.constexpr, MODULATED: tl.constexpr,
    SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT: tl.constexpr,
):  # fmt: skip
    """Do everything for one slab of one sample; sums (2, N, C) holds S0 and S1, ``plane`` elements apart."""
    C: tl.constexpr = C1 + C2
    n, slab, c0, c, real = slab_of(C, SLAB, BC)
    lane = tl.arange(0, BP)
    member = members(BC, GB, CG, SLAB)
    place, inside = groups_at(n, slab, C, CG, SLAB, GB)
    centre = by_channel(tl.load(mean + place, mask=inside, other=0.0), member)
    inverse = by_channel(tl.load(rstd + place, mask=inside, other=0.0), member)
    gain, offset = affine(weight, bias, scale, shift, n, c, real, scale_row, shift_row, MODULATED)
    dz = tl.zeros((BP, BC), tl.float32)
    xh = tl.zeros((BP, BC), tl.float32)
    if RESIDENT:
        dz, xh = tile(x, skip, dy, state, site, n, lane, lane < P, c, c0, real, centre, inverse, gain, offset, 0, P,
                      C1, C2, BP, BC, LAST, SILU, THRESHOLD, KEPT)  # fmt: skip
        s0 = tl.sum(dz, axis=0)
        s1 = tl.sum(dz * xh, axis=0)
    else:
        t0 = tl.zeros((BP, BC), tl.float32)
        t1 = tl.zeros((BP, BC), tl.float32)
        for first in range(0, P, BP):
            p = first + lane
            dz, xh = tile(x, skip, dy, state, site, n, p, p < P, c, c0, real, centre, inverse, gain, offset, first, P,
                          C1, C2, BP, BC, LAST, SILU, THRESHOLD, KEPT)  # fmt: skip
            t0 += dz
            t1 += dz * xh
        s0 = tl.sum(t0, axis=0)
        s1 = tl.sum(t1, axis=0)
    tl.store(sums + n * C + c, s0, mask=real)
    tl.store(sums + plane + n * C + c, s1, mask=real)
    if MODULATED:
        modulation(weight, bias, dscale, dshift, n, c, real, s0, s1, C)
    a = by_channel(by_group(gain * s0, member), member) / (P * CG)
    b = by_channel(by_group(gain * s1, member), member) / (P * CG)
    if RESIDENT:
        value = inverse[None, :] * (dz * gain[None, :] - a[None, :] - xh * b[None, :])
        scatter(dx, dskip, value, n, lane, lane < P, c, real, P, C1, C2, LAST)
    else:
        for first in range(0, P, BP):
            p = first + lane
            dz, xh = tile(x, skip, dy, state, site, n, p, p < P, c, c0, real, centre, inverse, gain, offset, first, P,
                          C1, C2, BP, BC, LAST, SILU, THRESHOLD, KEPT)  # fmt: skip
            value = inverse[None, :] * (dz * gain[None, :] - a[None, :] - xh * b[None, :])
            scatter(dx, dskip, value, n, p, p < P, c, real, P, C1, C2, LAST)


@triton.jit(do_not_specialize=["site"])
def collect(
    x, skip, dy, weight, bias, scale, shift, mean, rstd, partial, state, site, scale_row, shift_row, P, chunk,
    C1: tl.constexpr, C2: tl.constexpr, CG: tl.constexpr, SLAB: tl.constexpr, GB: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, SPLITS: tl.constexpr, LAST: tl.constexpr, MODULATED: tl.constexpr,
    SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT: tl.constexpr,
):  # fmt: skip
    """Take S0 and S1 over a part of a slab: partial (N, SPLITS, 2, C)."""
    C: tl.constexpr = C1 + C2
    split = tl.program_id(1)
    n, slab, c0, c, real = slab_of(C, SLAB, BC)
    lane = tl.arange(0, BP)
    member = members(BC, GB, CG, SLAB)
    place, inside = groups_at(n, slab, C, CG, SLAB, GB)
    centre = by_channel(tl.load(mean + place, mask=inside, other=0.0), member)
    inverse = by_channel(tl.load(rstd + place, mask=inside, other=0.0), member)
    gain, offset = affine(weight, bias, scale, shift, n, c, real, scale_row, shift_row, MODULATED)
    t0 = tl.zeros((BP, BC), tl.float32)
    t1 = tl.zeros((BP, BC), tl.float32)
    last = tl.minimum((split + 1) * chunk, P)
    for first in range(split * chunk, last, BP):
        p = first + lane
        dz, xh = tile(x, skip, dy, state, site, n, p, p < last, c, c0, real, centre, inverse, gain, offset, first, P,
                      C1, C2, BP, BC, LAST, SILU, THRESHOLD, KEPT)  # fmt: skip
        t0 += dz
        t1 += dz * xh
    where = partial + ((n * SPLITS + split) * 2) * C + c
    tl.store(where, tl.sum(t0, axis=0), mask=real)
    tl.store(where + C, tl.sum(t1, axis=0), mask=real)


@triton.jit(do_not_specialize=["site"])
def spread(
    x, skip, dy, weight, bias, scale, shift, mean, rstd, dx, dskip, dscale, dshift, sums, partial, state, site,
    scale_row, shift_row, P, plane, chunk,
    C1: tl.constexpr, C2: tl.constexpr, CG: tl.constexpr, SLAB: tl.constexpr, GB: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, SPLITS: tl.constexpr, LAST: tl.constexpr, MODULATED: tl.constexpr,
    SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT: tl.constexpr,
):  # fmt: skip
    """Put the partial sums of a slab together and make dx of a part of it."""
    C: tl.constexpr = C1 + C2
    split = tl.program_id(1)
    n, slab, c0, c, real = slab_of(C, SLAB, BC)
    lane = tl.arange(0, BP)
    member = members(BC, GB, CG, SLAB)
    place, inside = groups_at(n, slab, C, CG, SLAB, GB)
    centre = by_channel(tl.load(mean + place, mask=inside, other=0.0), member)
    inverse = by_channel(tl.load(rstd + place, mask=inside, other=0.0), member)
    gain, offset = affine(weight, bias, scale, shift, n, c, real, scale_row, shift_row, MODULATED)
    s0 = tl.zeros((BC,), tl.float32)
    s1 = tl.zeros((BC,), tl.float32)
    for s in range(SPLITS):
        where = partial + ((n * SPLITS + s) * 2) * C + c
        s0 += tl.load(where, mask=real, other=0.0)
        s1 += tl.load(where + C, mask=real, other=0.0)
    if split == 0:
        tl.store(sums + n * C + c, s0, mask=real)
        tl.store(sums + plane + n * C + c, s1, mask=real)
        if MODULATED:
            modulation(weight, bias, dscale, dshift, n, c, real, s0, s1, C)
    a = by_channel(by_group(gain * s0, member), member) / (P * CG)
    b = by_channel(by_group(gain * s1, member), member) / (P * CG)
    last = tl.minimum((split + 1) * chunk, P)
    for first in range(split * chunk, last, BP):
        p = first + lane
        dz, xh = tile(x, skip, dy, state, site, n, p, p < last, c, c0, real, centre, inverse, gain, offset, first, P,
                      C1, C2, BP, BC, LAST, SILU, THRESHOLD, KEPT)  # fmt: skip
        value = inverse[None, :] * (dz * gain[None, :] - a[None, :] - xh * b[None, :])
        scatter(dx, dskip, value, n, p, p < last, c, real, P, C1, C2, LAST)


@triton.jit
def over_samples(
    sums, scale, first_sum, second_sum, scale_row, rows, part, plane, C,
    BN: tl.constexpr, BC: tl.constexpr, MODULATED: tl.constexpr,
):  # fmt: skip
    """Add S0 and S1, times scale where there is one, over a part of the samples: sums (2, N, C) -> twice (parts, C).

    S0 gives dbias, S1 dweight.
    """
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    split = tl.program_id(1)
    real = c < C
    t0 = tl.zeros((BN, BC), tl.float32)
    t1 = tl.zeros((BN, BC), tl.float32)
    last = tl.minimum((split + 1) * part, rows)
    for first in range(split * part, last, BN):
        n = (first + tl.arange(0, BN)).to(tl.int64)
        here = (n < last)[:, None] & real[None, :]
        where = sums + n[:, None] * C + c[None, :]
        u = tl.load(where, mask=here, other=0.0)
        v = tl.load(where + plane, mask=here, other=0.0)
        if MODULATED:
            factor = tl.load(scale + n[:, None] * scale_row + c[None, :], mask=here, other=0.0).to(tl.float32)
            u *= factor
            v *= factor
        t0 += u
        t1 += v
    where = split * C + c
    tl.store(first_sum + where, tl.sum(t0, axis=0).to(first_sum.dtype.element_ty), mask=real)
    tl.store(second_sum + where, tl.sum(t1, axis=0).to(second_sum.dtype.element_ty), mask=real)
