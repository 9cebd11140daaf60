"""What the group_norm kernels share: tiles of pixels by channels, group sums, moments, the activation.

A tile is (BP pixels, BC channels) of one sample. Its channels are a slab: whole groups, side by side, padded to a
power of two. Reductions go over the tile's pixels first, a channel at a time; channels are then put together by
group through a small membership matrix, so any group width will do, also 6, 12, 18 and 24.
"""

from __future__ import annotations

import triton
import triton.language as tl

from diffsda.kernels.fused_dropout import VECTOR, kept


@triton.jit
def slab_of(C: tl.constexpr, SLAB: tl.constexpr, BC: tl.constexpr):
    """Return what this program covers: sample, slab, its first channel, its channels (BC,) and which are real."""
    SLABS: tl.constexpr = C // SLAB
    pid = tl.program_id(0)
    slab = pid % SLABS
    local = tl.arange(0, BC)
    return (pid // SLABS).to(tl.int64), slab, slab * SLAB, slab * SLAB + local, local < SLAB


@triton.jit
def offsets(p, c, P, C: tl.constexpr, LAST: tl.constexpr):
    """Return where the elements of a tile lie within a sample of C channels: p (BP,), c (BC,) -> (BP, BC)."""
    return p[:, None] * C + c[None, :] if LAST else p[:, None] + c[None, :] * P


@triton.jit
def load(x, skip, n, p, c, live, real, P, C1: tl.constexpr, C2: tl.constexpr, LAST: tl.constexpr):
    """Load a tile in float32; channels from C1 on come from ``skip``; what is not live or not real is 0."""
    if C2 == 0:
        mask = live[:, None] & real[None, :]
        tile = tl.load(x + n * P * C1 + offsets(p, c, P, C1, LAST), mask=mask, other=0.0).to(tl.float32)  # wide
    else:
        # Both loads together touch every element once: each lane is live in one of them.
        first = live[:, None] & (real & (c < C1))[None, :]
        second = live[:, None] & (real & (c >= C1))[None, :]
        u = tl.load(x + n * P * C1 + offsets(p, c, P, C1, LAST), mask=first, other=0.0)  # wide
        v = tl.load(skip + n * P * C2 + offsets(p, c - C1, P, C2, LAST), mask=second, other=0.0)  # wide
        tile = u.to(tl.float32) + v.to(tl.float32)
    return tile


@triton.jit
def members(BC: tl.constexpr, GB: tl.constexpr, CG: tl.constexpr, SLAB: tl.constexpr):
    """Return which channel of a slab belongs to which of its groups: (GB, BC)."""
    c = tl.arange(0, BC)
    return (c[None, :] // CG == tl.arange(0, GB)[:, None]) & (c[None, :] < SLAB)


@triton.jit
def groups_at(n, slab, C: tl.constexpr, CG: tl.constexpr, SLAB: tl.constexpr, GB: tl.constexpr):
    """Return where a slab's groups lie in (N, G) statistics and which are real: (GB,), (GB,)."""
    g = tl.arange(0, GB)
    return n * (C // CG) + slab * (SLAB // CG) + g, g < SLAB // CG


@triton.jit
def by_group(values, member):
    """Sum over the channels of every group: (BC,), (GB, BC) -> (GB,)."""
    return tl.sum(tl.where(member, values[None, :], 0.0), axis=1)


@triton.jit
def by_channel(values, member):
    """Give every channel its group's value: (GB,), (GB, BC) -> (BC,)."""
    return tl.sum(tl.where(member, values[:, None], 0.0), axis=0)


@triton.jit
def levels(offset, c, real, BC: tl.constexpr, OFFSET: tl.constexpr):
    """Return the constant of every channel: (BC,)."""
    level = tl.zeros((BC,), tl.float32)
    if OFFSET:
        level = tl.load(offset + c, mask=real, other=0.0).to(tl.float32)
    return level


@triton.jit
def centres(group, level, member, OFFSET: tl.constexpr):
    """Return what to take from a channel as it is stored, without its constant: (BC,)."""
    centre = by_channel(group, member)
    if OFFSET:
        centre -= level
    return centre


@triton.jit
def stream(
    x, skip, n, c, real, first, last, P,
    C1: tl.constexpr, C2: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr,
):  # fmt: skip
    """Read the pixels [first, last) tile by tile; return every lane's mean, squared deviations and count.

    Welford's recurrence a lane: exact whatever the mean, and no thread waits for another inside the loop.
    """
    lane = tl.arange(0, BP)
    always = lane >= 0
    whole = (last - first) // BP
    mean = tl.zeros((BP, BC), tl.float32)
    square = tl.zeros((BP, BC), tl.float32)
    for k in range(whole):
        v = load(x, skip, n, first + k * BP + lane, c, always, real, P, C1, C2, LAST)
        delta = v - mean
        mean += delta * (1.0 / (k + 1))
        square += delta * (v - mean)
    rest = last - first - whole * BP
    live = lane < rest
    if rest > 0:
        v = load(x, skip, n, first + whole * BP + lane, c, live, real, P, C1, C2, LAST)
        delta = tl.where(live[:, None], v - mean, 0.0)
        mean += delta * (1.0 / (whole + 1))
        square += delta * (v - mean)
    return mean, square, whole.to(tl.float32) + live.to(tl.float32)


@triton.jit
def moments(mean, square, count, pixels, level, member, CG: tl.constexpr, OFFSET: tl.constexpr):
    """Put lanes together: (BP, BC), (BP, BC), (BP,) -> mean and squared deviations of every group, (GB,).

    Every mean is taken twice, the second time of what the first left over, so that large means cost no digits.
    A channel's ``level`` (BC,) moves its means and leaves its deviations: nothing is added element by element.
    """
    counted = count[:, None] > 0
    channel = tl.sum(count[:, None] * mean, axis=0) / pixels  # (BC,)
    channel += tl.sum(tl.where(counted, count[:, None] * (mean - channel[None, :]), 0.0), axis=0) / pixels
    if OFFSET:
        channel += level
    group = by_group(channel, member) / CG  # (GB,)
    group += tl.sum(tl.where(member, channel[None, :] - group[:, None], 0.0), axis=1) / CG
    apart = tl.where(counted, mean - centres(group, level, member, OFFSET)[None, :], 0.0)
    return group, by_group(tl.sum(square + count[:, None] * apart * apart, axis=0), member)


@triton.jit
def affine(weight, bias, scale, shift, n, c, real, scale_row, shift_row, MODULATED: tl.constexpr):
    """Return gain and offset of every channel, norm weights and modulation in one: (BC,), (BC,)."""
    gain = tl.load(weight + c, mask=real, other=0.0).to(tl.float32)
    offset = tl.load(bias + c, mask=real, other=0.0).to(tl.float32)
    if MODULATED:
        factor = tl.load(scale + n * scale_row + c, mask=real, other=0.0).to(tl.float32)
        gain = gain * factor
        offset = offset * factor + tl.load(shift + n * shift_row + c, mask=real, other=0.0).to(tl.float32)
    return gain, offset


@triton.jit
def keeps(
    state, site, n, first, c0, P,
    C: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr, THRESHOLD: tl.constexpr,
):  # fmt: skip
    """Return which elements dropout keeps: (BP, BC). Runs of eight go along the dense dimension."""
    if LAST:
        row = n * P + first + tl.arange(0, BP)[:, None]
        vector = row * ((C + VECTOR - 1) // VECTOR) + c0 // VECTOR + tl.arange(0, BC // VECTOR)[None, :]
        keep = kept(state, site, vector, THRESHOLD)
    else:
        row = n * C + c0 + tl.arange(0, BC)[:, None]
        vector = row * ((P + VECTOR - 1) // VECTOR) + first // VECTOR + tl.arange(0, BP // VECTOR)[None, :]
        keep = tl.trans(kept(state, site, vector, THRESHOLD))
    return keep


@triton.jit
def slope(z):
    """Return the derivative of SiLU at z."""
    s = tl.sigmoid(z)
    return s * (1.0 + z * (1.0 - s))
