"""A slab in shared memory: group_norm's forward pass with one read and one write of global memory, in Gluon.

A program covers a slab of one channels_last sample, as ``fused_forward.normalise`` does, and computes the same, but
reads the slab once: asynchronous copies bring it into shared memory chunk by chunk (all are under way before the
first is waited for), sums are taken as chunks arrive, deviations and results from shared memory. 4 bytes an element
in bf16, all useful. The slab's channels lie in two buffers of W0 and W1, powers of two that add up to it (48 is 32 and
16), so that nothing is spent on padding: 48 channels of 1024 pixels take 96 KiB, two programs share a Hopper
multiprocessor.

``offset``, a constant a channel, touches no element: it moves the channels' sums and what is subtracted from them.

Float32: statistics, modulation, activation. No dropout, one source, pixels a multiple of CHUNK.
The names used are those of Triton 3.6 and 3.7; ``fused_forward.normalise`` is its twin for the interpreter.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import async_copy


@gluon.constexpr_function
def tile_layout(width: int, warps: int) -> gl.BlockedLayout:
    """Return how threads share a (rows, width) tile: eight elements in a row each, 16 bytes in 16-bit types."""
    across = width // 8
    return gl.BlockedLayout([1, 8], [32 // across, across], [warps, 1], [1, 0])


@gluon.constexpr_function
def member_layout(warps: int) -> gl.BlockedLayout:
    """Return how threads share a (groups, channels) matrix."""
    return gl.BlockedLayout([1, 1], [1, 32], [warps, 1], [1, 0])


@gluon.jit
def fetch(x, smem, c0, P, C: gl.constexpr, W: gl.constexpr, CHUNK: gl.constexpr, index, warps: gl.constexpr):
    """Start copying a chunk of a part."""
    layout: gl.constexpr = tile_layout(W, warps)
    p = index * CHUNK + gl.arange(0, CHUNK, layout=gl.SliceLayout(1, layout))
    c = c0 + gl.arange(0, W, layout=gl.SliceLayout(0, layout))
    async_copy.async_copy_global_to_shared(smem.index(index), x + p[:, None] * C + c[None, :])  # wide


@gluon.jit
def members(start, W: gl.constexpr, GB: gl.constexpr, CG: gl.constexpr, warps: gl.constexpr):
    """Return which of a part's channels, from ``start`` of the slab on, belongs to which group: (GB, W)."""
    layout: gl.constexpr = member_layout(warps)
    c = start + gl.arange(0, W, layout=gl.SliceLayout(0, layout))
    g = gl.arange(0, GB, layout=gl.SliceLayout(1, layout))
    return c[None, :] // CG == g[:, None]


@gluon.jit
def levels(offset, c0, W: gl.constexpr, warps: gl.constexpr):
    """Return the constant of every channel of a part: (W,), one a thread."""
    return gl.load(offset + c0 + gl.arange(0, W, layout=gl.SliceLayout(0, member_layout(warps)))).to(gl.float32)


@gluon.jit
def by_group(values, member, warps: gl.constexpr):
    """Sum over the channels of every group: (W,) in any layout -> (GB,)."""
    spread = gl.convert_layout(values, gl.SliceLayout(0, member_layout(warps)))
    return gl.sum(gl.where(member, spread[None, :], 0.0), axis=1)


@gluon.jit
def by_channel(values, member, W: gl.constexpr, warps: gl.constexpr):
    """Give every channel of a part its group's value: (GB,) -> (W,) in the tile's layout."""
    picked = gl.sum(gl.where(member, values[:, None], 0.0), axis=0)
    return gl.convert_layout(picked, gl.SliceLayout(0, tile_layout(W, warps)))


@gluon.jit
def centres(group, offset, c0, member, W: gl.constexpr, OFFSET: gl.constexpr, warps: gl.constexpr):
    """Return what to take from a channel as it is stored, without its constant: (W,) in the tile's layout."""
    if OFFSET:
        # Read again where it is wanted, from the L1 cache: registers are what a program has least of.
        picked = gl.sum(gl.where(member, group[:, None], 0.0), axis=0) - levels(offset, c0, W, warps)
        centre = gl.convert_layout(picked, gl.SliceLayout(0, tile_layout(W, warps)))
    else:
        centre = by_channel(group, member, W, warps)
    return centre


@gluon.jit
def finish(
    smem, offset, y, weight, bias, scale, shift, n, c0, group, inverse, member, scale_row, shift_row, P,
    C: gl.constexpr, W: gl.constexpr, CHUNK: gl.constexpr, CHUNKS: gl.constexpr, OFFSET: gl.constexpr,
    MODULATED: gl.constexpr, SILU: gl.constexpr, warps: gl.constexpr,
):  # fmt: skip
    """Normalise, activate and store a part."""
    layout: gl.constexpr = tile_layout(W, warps)
    c = c0 + gl.arange(0, W, layout=gl.SliceLayout(0, layout))
    gain = gl.load(weight + c).to(gl.float32)
    base = gl.load(bias + c).to(gl.float32)
    if MODULATED:
        factor = gl.load(scale + n * scale_row + c).to(gl.float32)
        gain = gain * factor
        base = base * factor + gl.load(shift + n * shift_row + c).to(gl.float32)
    gain = gain * by_channel(inverse, member, W, warps)
    centre = centres(group, offset, c0, member, W, OFFSET, warps)
    for k in gl.static_range(CHUNKS):
        p = k * CHUNK + gl.arange(0, CHUNK, layout=gl.SliceLayout(1, layout))
        z = (smem.index(k).load(layout).to(gl.float32) - centre[None, :]) * gain[None, :] + base[None, :]
        if SILU:
            z = z / (1.0 + gl.exp(-z))
        gl.store(y + n * P * C + p[:, None] * C + c[None, :], z.to(y.dtype.element_ty))  # wide


@gluon.jit
def normalise_resident(
    x, offset, weight, bias, scale, shift, y, mean, rstd, scale_row, shift_row, P, eps,
    C: gl.constexpr, CG: gl.constexpr, SLAB: gl.constexpr, GB: gl.constexpr, W0: gl.constexpr, W1: gl.constexpr,
    CHUNK: gl.constexpr, CHUNKS: gl.constexpr, OFFSET: gl.constexpr, MODULATED: gl.constexpr, SILU: gl.constexpr,
    WARPS: gl.constexpr,
):  # fmt: skip
    """Do everything for one slab of one sample."""
    SLABS: gl.constexpr = C // SLAB
    shared: gl.constexpr = gl.SwizzledSharedLayout(vec=8, per_phase=1, max_phase=1, order=[1, 0])
    pid = gl.program_id(0)
    n = (pid // SLABS).to(gl.int64)
    slab = pid % SLABS
    c0 = slab * SLAB
    sample = x + n * P * C
    first = gl.allocate_shared_memory(x.dtype.element_ty, [CHUNKS, CHUNK, W0], shared)
    if W1 > 0:
        second = gl.allocate_shared_memory(x.dtype.element_ty, [CHUNKS, CHUNK, W1], shared)
    for k in gl.static_range(CHUNKS):
        fetch(sample, first, c0, P, C, W0, CHUNK, k, WARPS)
        if W1 > 0:
            fetch(sample, second, c0 + W0, P, C, W1, CHUNK, k, WARPS)
        async_copy.commit_group()
    layout0: gl.constexpr = tile_layout(W0, WARPS)
    member0 = members(0, W0, GB, CG, WARPS)
    lanes0 = gl.zeros([CHUNK, W0], gl.float32, layout0)
    if W1 > 0:
        layout1: gl.constexpr = tile_layout(W1, WARPS)
        member1 = members(W0, W1, GB, CG, WARPS)
        lanes1 = gl.zeros([CHUNK, W1], gl.float32, layout1)
    for k in gl.static_range(CHUNKS):
        async_copy.wait_group(CHUNKS - 1 - k)
        lanes0 += first.index(k).load(layout0).to(gl.float32)
        if W1 > 0:
            lanes1 += second.index(k).load(layout1).to(gl.float32)
    group = by_group(gl.sum(lanes0, axis=0), member0, WARPS)
    if W1 > 0:
        group += by_group(gl.sum(lanes1, axis=0), member1, WARPS)
    if OFFSET:
        group += P * by_group(levels(offset, c0, W0, WARPS), member0, WARPS)
        if W1 > 0:
            group += P * by_group(levels(offset, c0 + W0, W1, WARPS), member1, WARPS)
    group = group / (P * CG)
    # Once more over what the first mean left, from shared memory: large means cost no digits.
    centre0 = centres(group, offset, c0, member0, W0, OFFSET, WARPS)
    left0 = gl.zeros([CHUNK, W0], gl.float32, layout0)
    square0 = gl.zeros([CHUNK, W0], gl.float32, layout0)
    if W1 > 0:
        centre1 = centres(group, offset, c0 + W0, member1, W1, OFFSET, WARPS)
        left1 = gl.zeros([CHUNK, W1], gl.float32, layout1)
        square1 = gl.zeros([CHUNK, W1], gl.float32, layout1)
    for k in gl.static_range(CHUNKS):
        apart0 = first.index(k).load(layout0).to(gl.float32) - centre0[None, :]
        left0 += apart0
        square0 += apart0 * apart0
        if W1 > 0:
            apart1 = second.index(k).load(layout1).to(gl.float32) - centre1[None, :]
            left1 += apart1
            square1 += apart1 * apart1
    rest = by_group(gl.sum(left0, axis=0), member0, WARPS)
    deviation = by_group(gl.sum(square0, axis=0), member0, WARPS)
    if W1 > 0:
        rest += by_group(gl.sum(left1, axis=0), member1, WARPS)
        deviation += by_group(gl.sum(square1, axis=0), member1, WARPS)
    rest = rest / (P * CG)
    group += rest
    inverse = 1.0 / gl.sqrt(deviation / (P * CG) - rest * rest + eps)
    g = gl.arange(0, GB, layout=gl.SliceLayout(1, member_layout(WARPS)))
    place = n * (C // CG) + slab * (SLAB // CG) + g
    gl.store(mean + place, group, mask=g < SLAB // CG)
    gl.store(rstd + place, inverse, mask=g < SLAB // CG)
    finish(first, offset, y, weight, bias, scale, shift, n, c0, group, inverse, member0, scale_row, shift_row, P,
           C, W0, CHUNK, CHUNKS, OFFSET, MODULATED, SILU, WARPS)  # fmt: skip
    if W1 > 0:
        finish(second, offset, y, weight, bias, scale, shift, n, c0 + W0, group, inverse, member1, scale_row, shift_row,
               P, C, W1, CHUNK, CHUNKS, OFFSET, MODULATED, SILU, WARPS)  # fmt: skip
