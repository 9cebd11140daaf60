"""Triton kernels of group_norm's forward pass.

``normalise``: a program covers a slab of one sample, reads it for the statistics and again (from the L2 cache) to
apply them: 4 useful bytes an element in bf16, 6 moved. With RESIDENT the slab stays in registers: 4 moved.
``measure`` and ``apply``: the pixels of a slab are split over programs, for batches too small to fill the device
otherwise. Partial statistics go through a workspace and are put together in a fixed order.

``offset``, a constant a channel, costs 4 bytes a channel and no instruction an element: a channel's deviations do not
know it, its mean takes it once, and what is subtracted from an element is the group's mean less the constant.

Float32: statistics, modulation, activation. Largest sample: 2^31 - 1 elements; any number of samples.
"""

from __future__ import annotations

import triton
import triton.language as tl

from diffsda.kernels.group_norm.fused_tile import (
    affine,
    by_channel,
    centres,
    groups_at,
    keeps,
    levels,
    load,
    members,
    moments,
    offsets,
    slab_of,
    stream,
)


@triton.jit
def finish(
    v, y, state, site, n, p, live, c, c0, real, centre, gain, base, first, P,
    C: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr, SILU: tl.constexpr,
    THRESHOLD: tl.constexpr, KEPT: tl.constexpr,
):  # fmt: skip
    """Normalise, activate, drop out and store a tile."""
    z = (v - centre[None, :]) * gain[None, :] + base[None, :]
    if SILU:
        z = z * tl.sigmoid(z)
    if THRESHOLD > 0:
        z = tl.where(keeps(state, site, n, first, c0, P, C, BP, BC, LAST, THRESHOLD), z * KEPT, 0.0)
    where = y + n * P * C + offsets(p, c, P, C, LAST)
    tl.store(where, z.to(y.dtype.element_ty), mask=live[:, None] & real[None, :])  # wide


@triton.jit(do_not_specialize=["site"])
def normalise(
    x, skip, offset, weight, bias, scale, shift, y, mean, rstd, state, used, site, scale_row, shift_row, P, eps,
    C1: tl.constexpr, C2: tl.constexpr, CG: tl.constexpr, SLAB: tl.constexpr, GB: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, RESIDENT: tl.constexpr, LAST: tl.constexpr, OFFSET: tl.constexpr,
    MODULATED: tl.constexpr, SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT: tl.constexpr,
):  # fmt: skip
    """Do everything for one slab of one sample."""
    C: tl.constexpr = C1 + C2
    n, slab, c0, c, real = slab_of(C, SLAB, BC)
    lane = tl.arange(0, BP)
    member = members(BC, GB, CG, SLAB)
    if THRESHOLD > 0:
        if tl.program_id(0) == 0:
            tl.store(used, tl.load(state))
            tl.store(used + 1, tl.load(state + 1))
    v = tl.zeros((BP, BC), tl.float32)
    if RESIDENT:
        v = load(x, skip, n, lane, c, lane < P, real, P, C1, C2, LAST)
        level = levels(offset, c, real, BC, OFFSET)
        count = (lane < P).to(tl.float32)
        group, deviation = moments(v, tl.zeros((BP, BC), tl.float32), count, P, level, member, CG, OFFSET)
    else:
        lanes, square, count = stream(x, skip, n, c, real, 0, P, P, C1, C2, BP, BC, LAST)
        level = levels(offset, c, real, BC, OFFSET)
        group, deviation = moments(lanes, square, count, P, level, member, CG, OFFSET)
    inverse = 1.0 / tl.sqrt(deviation / (P * CG) + eps)
    place, inside = groups_at(n, slab, C, CG, SLAB, GB)
    tl.store(mean + place, group, mask=inside)
    tl.store(rstd + place, inverse, mask=inside)
    gain, base = affine(weight, bias, scale, shift, n, c, real, scale_row, shift_row, MODULATED)
    gain = gain * by_channel(inverse, member)
    centre = centres(group, level, member, OFFSET)
    if RESIDENT:
        finish(v, y, state, site, n, lane, lane < P, c, c0, real, centre, gain, base, 0, P,
               C, BP, BC, LAST, SILU, THRESHOLD, KEPT)  # fmt: skip
    else:
        for first in range(0, P, BP):
            p = first + lane
            v = load(x, skip, n, p, c, p < P, real, P, C1, C2, LAST)
            finish(v, y, state, site, n, p, p < P, c, c0, real, centre, gain, base, first, P,
                   C, BP, BC, LAST, SILU, THRESHOLD, KEPT)  # fmt: skip


@triton.jit
def measure(
    x, skip, offset, partial, P, chunk,
    C1: tl.constexpr, C2: tl.constexpr, CG: tl.constexpr, SLAB: tl.constexpr, GB: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, SPLITS: tl.constexpr, LAST: tl.constexpr,
    OFFSET: tl.constexpr,
):  # fmt: skip
    """Take mean and squared deviations of a part of a slab: partial (N, G, 2, SPLITS)."""
    C: tl.constexpr = C1 + C2
    split = tl.program_id(1)
    n, slab, _, c, real = slab_of(C, SLAB, BC)
    member = members(BC, GB, CG, SLAB)
    first = split * chunk
    last = tl.minimum(first + chunk, P)
    lanes, square, count = stream(x, skip, n, c, real, first, last, P, C1, C2, BP, BC, LAST)
    level = levels(offset, c, real, BC, OFFSET)
    group, deviation = moments(lanes, square, count, last - first, level, member, CG, OFFSET)
    place, inside = groups_at(n, slab, C, CG, SLAB, GB)
    place = place * 2 * SPLITS + split
    tl.store(partial + place, group, mask=inside)
    tl.store(partial + place + SPLITS, deviation, mask=inside)


@triton.jit(do_not_specialize=["site"])
def apply(
    x, skip, offset, weight, bias, scale, shift, y, partial, mean, rstd, state, used, site, scale_row, shift_row, P,
    chunk, eps,
    C1: tl.constexpr, C2: tl.constexpr, CG: tl.constexpr, SLAB: tl.constexpr, GB: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, SPLITS: tl.constexpr, SB: tl.constexpr, LAST: tl.constexpr,
    OFFSET: tl.constexpr, MODULATED: tl.constexpr, SILU: tl.constexpr, THRESHOLD: tl.constexpr, KEPT: tl.constexpr,
):  # fmt: skip
    """Put the partial statistics of a slab together and apply them to a part of it."""
    C: tl.constexpr = C1 + C2
    split = tl.program_id(1)
    n, slab, c0, c, real = slab_of(C, SLAB, BC)
    member = members(BC, GB, CG, SLAB)
    if THRESHOLD > 0:
        if (tl.program_id(0) == 0) & (split == 0):
            tl.store(used, tl.load(state))
            tl.store(used + 1, tl.load(state + 1))
    # Chan's formula over the splits; the mean taken twice, as for lanes.
    group0, inside = groups_at(n, slab, C, CG, SLAB, GB)
    s = tl.arange(0, SB)
    both = inside[:, None] & (s < SPLITS)[None, :]
    place = (group0 * 2)[:, None] * SPLITS + s[None, :]
    means = tl.load(partial + place, mask=both, other=0.0)
    deviations = tl.load(partial + place + SPLITS, mask=both, other=0.0)
    pixels = tl.where(s < SPLITS, tl.minimum((s + 1) * chunk, P) - s * chunk, 0).to(tl.float32)
    group = tl.sum(pixels[None, :] * means, axis=1) / P
    group += tl.sum(pixels[None, :] * (means - group[:, None]), axis=1) / P
    apart = means - group[:, None]
    deviation = tl.sum(deviations + CG * pixels[None, :] * apart * apart, axis=1)
    inverse = 1.0 / tl.sqrt(deviation / (P * CG) + eps)
    if split == 0:
        tl.store(mean + group0, group, mask=inside)
        tl.store(rstd + group0, inverse, mask=inside)
    gain, base = affine(weight, bias, scale, shift, n, c, real, scale_row, shift_row, MODULATED)
    gain = gain * by_channel(inverse, member)
    centre = centres(group, levels(offset, c, real, BC, OFFSET), member, OFFSET)
    lane = tl.arange(0, BP)
    last = tl.minimum((split + 1) * chunk, P)
    for first in range(split * chunk, last, BP):
        p = first + lane
        v = load(x, skip, n, p, c, p < last, real, P, C1, C2, LAST)
        finish(v, y, state, site, n, p, p < last, c, c0, real, centre, gain, base, first, P,
               C, BP, BC, LAST, SILU, THRESHOLD, KEPT)  # fmt: skip
