"""heun as Triton kernels: one pass each, nothing but the named tensors is read or written.

One program covers BLOCK consecutive elements; everything is computed in float32. Bytes an element with a float32
state and a bfloat16 network (4-byte networks in brackets):

    predict   reads x 4, f 2 (4);        writes out 2 (4)         8 (12)
    correct   reads x 4, f 2, f2 2 (4);  writes x 4, out 2 (4)   14 (20)

Equal layouts are one flat run of memory. A contiguous (N, C, H, W) state beside a channels_last network is walked
in tiles of pixels by channels, with narrower accesses. Largest size: 2^62 elements, offsets are 64-bit.
"""

from __future__ import annotations

import triton
import triton.language as tl

VECTOR = tl.constexpr(16)
"""Elements that a mask must not divide, for 16-byte accesses in every dtype; what is left over goes on its own."""


@triton.jit
def _corrected(x, f, f2, keep, first, second, SECOND: tl.constexpr):
    y = keep * x + first * f.to(tl.float32)
    if SECOND:
        y += second * f2.to(tl.float32)
    return y


@triton.jit
def predict_flat(x, f, out, a, b, total, REST: tl.constexpr, BLOCK: tl.constexpr):
    """out <- a x + b f over equal layouts."""
    whole = total // VECTOR * VECTOR
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < whole
    state = tl.load(x + at, mask=inside)  # wide
    slope = tl.load(f + at, mask=inside)  # wide
    y = a * state + b * slope.to(tl.float32)
    tl.store(out + at, y.to(out.dtype.element_ty), mask=inside)  # wide
    if REST:
        if tl.program_id(0) == 0:
            left = whole + tl.arange(0, VECTOR)
            within = left < total
            few = a * tl.load(x + left, mask=within) + b * tl.load(f + left, mask=within).to(tl.float32)
            tl.store(out + left, few.to(out.dtype.element_ty), mask=within)


@triton.jit
def correct_flat(
    x,
    f,
    f2,
    out,
    keep,
    first,
    second,
    c_in,
    total,
    SECOND: tl.constexpr,
    NEXT: tl.constexpr,
    REST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """x <- keep x + first f + second f2, out <- c_in x over equal layouts."""
    whole = total // VECTOR * VECTOR
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < whole
    state = tl.load(x + at, mask=inside)  # wide
    slope = tl.load(f + at, mask=inside)  # wide
    slope2 = slope
    if SECOND:
        slope2 = tl.load(f2 + at, mask=inside)  # wide
    y = _corrected(state, slope, slope2, keep, first, second, SECOND)
    tl.store(x + at, y, mask=inside)  # wide
    if NEXT:
        tl.store(out + at, (c_in * y).to(out.dtype.element_ty), mask=inside)  # wide
    if REST:
        if tl.program_id(0) == 0:
            left = whole + tl.arange(0, VECTOR)
            within = left < total
            few = tl.load(f + left, mask=within)
            few2 = few
            if SECOND:
                few2 = tl.load(f2 + left, mask=within)
            z = _corrected(tl.load(x + left, mask=within), few, few2, keep, first, second, SECOND)
            tl.store(x + left, z, mask=within)
            if NEXT:
                tl.store(out + left, (c_in * z).to(out.dtype.element_ty), mask=within)


@triton.jit
def _places(pixels, HW, C: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr):
    """Return where a tile (PIXELS, CHANNELS) lies in a contiguous state, where in a channels_last tensor, its mask."""
    pixel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    frame, place = pixel // HW, pixel % HW
    planes = (frame[:, None] * C + channel[None, :]) * HW + place[:, None]
    rows = pixel[:, None] * C + channel[None, :]
    return planes, rows, (pixel < pixels)[:, None] & (channel < C)[None, :]


@triton.jit
def predict_mixed(x, f, out, a, b, pixels, HW, C: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr):
    """out <- a x + b f for x (N, C, H, W) contiguous and the others channels_last."""
    planes, rows, inside = _places(pixels, HW, C, PIXELS, CHANNELS)
    y = a * tl.load(x + planes, mask=inside) + b * tl.load(f + rows, mask=inside).to(tl.float32)
    tl.store(out + rows, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def correct_mixed(
    x,
    f,
    f2,
    out,
    keep,
    first,
    second,
    c_in,
    pixels,
    HW,
    SECOND: tl.constexpr,
    NEXT: tl.constexpr,
    C: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """x <- keep x + first f + second f2, out <- c_in x for x contiguous and the others channels_last."""
    planes, rows, inside = _places(pixels, HW, C, PIXELS, CHANNELS)
    slope = tl.load(f + rows, mask=inside)
    slope2 = slope
    if SECOND:
        slope2 = tl.load(f2 + rows, mask=inside)
    y = _corrected(tl.load(x + planes, mask=inside), slope, slope2, keep, first, second, SECOND)
    tl.store(x + planes, y, mask=inside)
    if NEXT:
        tl.store(out + rows, (c_in * y).to(out.dtype.element_ty), mask=inside)
