"""edm_loss: the loss and its gradient but for a factor, in one pass.

With q = sqrt(sigma^2 + sigma_data^2) the weighted error lambda (D - clean)^2 is the square of

    r = F - (a clean - b noise),  a = sigma / (sigma_data q),  b = sigma_data / q

Neither coefficient is a difference nor divides by sigma: a goes from 0 to 1 / sigma_data and b from 1 to 0, both
accurate to the last bits at any sigma, where (clean - c_skip noisy) / c_out would cancel at small and at large ones.
The gradient is 2 r / count times the incoming one. With 2 / count = m 2^k, 1 <= m < 2, what is written is m r, and
the backward multiplies by 2^k: no second rounding, and float16 holds what 2 r / count of a million elements is too
small for.

Read: f, clean, noise and, where given, mask once each. Written: m r in f's type and layout where there is a
gradient, one float32 a program. 2 + 4 + 4 bytes in, 2 out an element for bfloat16 f and float32 clips. The
backward reads m r and writes the gradient, 2 + 2.
Float32: coefficients, residual, sums, which are added up in a fixed order by a second kernel.

``flat``: all in one layout. A program walks over tiles of VECTORS runs of UNIT elements of any rows.
``woven``: f in channels_last, the rest planes; three channels, pixels a multiple of eight. A program walks over
tiles of GROUPS runs of eight pixels; planes, pixels and r are all read and written wide.
``tiled``: any other channels_last. A program walks over tiles of PIXELS pixels of one image, all channels.
Largest: 2^30 elements a row, 256 channels in channels_last; any number of rows.
"""

from __future__ import annotations

import triton
import triton.language as tl

from diffsda.kernels.fused_access import read, write
from diffsda.kernels.precondition.fused_layout import rows_of, rows_of_runs, woven


@triton.jit
def wanted(clean, noise, level, sigma_data):
    """Return what F would have to be for no error, in float32."""
    root = tl.sqrt(level * level + sigma_data * sigma_data)
    return clean.to(tl.float32) * (level / (sigma_data * root)) - noise.to(tl.float32) * (sigma_data / root)


@triton.jit
def factors(count, size, COUNTED: tl.constexpr):
    """Return the number of elements to divide by, and 2 / number taken apart into m in [1, 2) and a power of two."""
    number = size
    if COUNTED:
        number = tl.load(count)
    bits = (2.0 / number).to(tl.int32, bitcast=True)
    m = ((bits & 0x007FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
    return number, m, (bits & 0x7F800000).to(tl.float32, bitcast=True)


@triton.jit(do_not_specialize=["vectors"])
def edm_loss_flat(
    f, clean, noise, sigma, missing, real, count, residual, partial, vectors, sigma_data, size,
    ROW: tl.constexpr, VECTORS: tl.constexpr, UNIT: tl.constexpr,
    MASKED: tl.constexpr, PADDED: tl.constexpr, COUNTED: tl.constexpr, WRITE: tl.constexpr,
):  # fmt: skip
    """Sum the squares over every num_programs(0)-th tile of VECTORS runs of UNIT elements."""
    local = tl.arange(0, VECTORS)
    _, m, _ = factors(count, size, COUNTED)
    total = tl.zeros((VECTORS, UNIT), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(vectors, VECTORS), tl.num_programs(0)):
        first = tl.full((), VECTORS, tl.int64) * tile
        inside = (first + local < vectors)[:, None]
        row = rows_of_runs(first, local, ROW, UNIT)
        level = tl.load(sigma + row, mask=inside, other=1.0).to(tl.float32)
        at = (first + local)[:, None] * UNIT + tl.arange(0, UNIT)[None, :]
        x, unit = read(clean, at, inside, UNIT), read(noise, at, inside, UNIT)
        r = read(f, at, inside, UNIT).to(tl.float32) - wanted(x, unit, level, sigma_data)
        if MASKED:
            r = tl.where(tl.load(missing + at, mask=inside, other=0) == 1, 0.0, r)
        if PADDED:
            r = tl.where(tl.load(real + row, mask=inside, other=0) != 0, r, 0.0)
        total += r * r
        if WRITE:
            write(residual, at, r * m, inside, UNIT)
    tl.store(partial + tl.program_id(0), tl.sum(total))


@triton.jit(do_not_specialize=["groups"])
def edm_loss_woven(
    f, clean, noise, sigma, missing, real, count, residual, partial, groups, sigma_data, size,
    PER_IMAGE: tl.constexpr, GROUPS: tl.constexpr,
    MASKED: tl.constexpr, PADDED: tl.constexpr, COUNTED: tl.constexpr, WRITE: tl.constexpr,
):  # fmt: skip
    """Sum the squares over every num_programs(0)-th tile of GROUPS runs of eight pixels of three channels."""
    local = tl.arange(0, GROUPS)
    _, m, _ = factors(count, size, COUNTED)
    total = tl.zeros((GROUPS, 8), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(groups, GROUPS), tl.num_programs(0)):
        first = tl.full((), GROUPS, tl.int64) * tile
        image, run = rows_of(first, local, PER_IMAGE)
        inside = first + local < groups
        mask = inside[:, None]
        level = tl.load(sigma + image, mask=inside, other=1.0).to(tl.float32)[:, None]
        at = (image * (3 * PER_IMAGE) + run)[:, None] * 8 + tl.arange(0, 8)[None, :]
        red = tl.load(clean + at, mask=mask, other=0.0)  # wide
        green = tl.load(clean + at + PER_IMAGE * 8, mask=mask, other=0.0)  # wide
        blue = tl.load(clean + at + PER_IMAGE * 16, mask=mask, other=0.0)  # wide
        red = wanted(red, tl.load(noise + at, mask=mask, other=0.0), level, sigma_data)  # wide
        green = wanted(green, tl.load(noise + at + PER_IMAGE * 8, mask=mask, other=0.0), level, sigma_data)  # wide
        blue = wanted(blue, tl.load(noise + at + PER_IMAGE * 16, mask=mask, other=0.0), level, sigma_data)  # wide
        head, middle, tail = woven(red, green, blue)
        to = (first + local)[:, None] * 24 + tl.arange(0, 8)[None, :]
        head = tl.load(f + to, mask=mask, other=0.0).to(tl.float32) - head  # wide
        middle = tl.load(f + to + 8, mask=mask, other=0.0).to(tl.float32) - middle  # wide
        tail = tl.load(f + to + 16, mask=mask, other=0.0).to(tl.float32) - tail  # wide
        if MASKED:
            red = tl.where(tl.load(missing + at, mask=mask, other=0) == 1, 0.0, 1.0)
            green = tl.where(tl.load(missing + at + PER_IMAGE * 8, mask=mask, other=0) == 1, 0.0, 1.0)
            blue = tl.where(tl.load(missing + at + PER_IMAGE * 16, mask=mask, other=0) == 1, 0.0, 1.0)
            stay_head, stay_middle, stay_tail = woven(red, green, blue)
            head = tl.where(stay_head != 0, head, 0.0)
            middle = tl.where(stay_middle != 0, middle, 0.0)
            tail = tl.where(stay_tail != 0, tail, 0.0)
        if PADDED:
            kept = tl.load(real + image, mask=inside, other=0)[:, None] != 0
            head = tl.where(kept, head, 0.0)
            middle = tl.where(kept, middle, 0.0)
            tail = tl.where(kept, tail, 0.0)
        total += head * head + middle * middle + tail * tail
        if WRITE:
            kind = residual.dtype.element_ty
            tl.store(residual + to, (head * m).to(kind), mask=mask)  # wide
            tl.store(residual + to + 8, (middle * m).to(kind), mask=mask)  # wide
            tl.store(residual + to + 16, (tail * m).to(kind), mask=mask)  # wide
    tl.store(partial + tl.program_id(0), tl.sum(total))


@triton.jit(do_not_specialize=["images"])
def edm_loss_tiled(
    f, clean, noise, sigma, missing, real, count, residual, partial, images, sigma_data, size,
    C: tl.constexpr, HW: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
    MASKED: tl.constexpr, PADDED: tl.constexpr, COUNTED: tl.constexpr, WRITE: tl.constexpr,
):  # fmt: skip
    """Sum the squares over every num_programs(0)-th tile of PIXELS pixels of one image, all channels."""
    tiles: tl.constexpr = (HW + PIXELS - 1) // PIXELS
    channel = tl.arange(0, CHANNELS)
    _, m, _ = factors(count, size, COUNTED)
    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    for tile in range(tl.program_id(0), images * tiles, tl.num_programs(0)):
        image = tile // tiles
        pixel = tile % tiles * PIXELS + tl.arange(0, PIXELS)
        inside = (pixel < HW)[:, None] & (channel < C)[None, :]
        base = tl.full((), C * HW, tl.int64) * image
        level = tl.load(sigma + image).to(tl.float32)
        at = base + channel[None, :] * HW + pixel[:, None]
        to = base + pixel[:, None] * C + channel[None, :]
        r = tl.load(f + to, mask=inside, other=0.0).to(tl.float32)
        x = tl.load(clean + at, mask=inside, other=0.0)
        r = r - wanted(x, tl.load(noise + at, mask=inside, other=0.0), level, sigma_data)
        if MASKED:
            r = tl.where(tl.load(missing + at, mask=inside, other=0) == 1, 0.0, r)
        if PADDED:
            r = tl.where(tl.load(real + image) != 0, r, 0.0)
        total += r * r
        if WRITE:
            tl.store(residual + to, (r * m).to(residual.dtype.element_ty), mask=inside)
    tl.store(partial + tl.program_id(0), tl.sum(total))


@triton.jit
def edm_loss_total(
    partial, count, loss, factor, programs, size, BLOCK: tl.constexpr, COUNTED: tl.constexpr
):  # fmt: skip
    """Add up the programs' sums in a fixed order; store their mean and the power of two that the gradient lacks."""
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, programs, BLOCK):
        at = start + tl.arange(0, BLOCK)
        total += tl.load(partial + at, mask=at < programs, other=0.0)
    number, _, power = factors(count, size, COUNTED)
    tl.store(loss, tl.sum(total) / number)
    tl.store(factor, power)


@triton.jit(do_not_specialize=["vectors"])
def edm_loss_backward(
    dloss, residual, factor, df, vectors, VECTORS: tl.constexpr, UNIT: tl.constexpr
):  # fmt: skip
    """Scale what the forward wrote: VECTORS runs of UNIT elements."""
    scale = tl.load(dloss).to(tl.float32) * tl.load(factor)
    vector = tl.program_id(0).to(tl.int64) * VECTORS + tl.arange(0, VECTORS)
    inside = (vector < vectors)[:, None]
    at = vector[:, None] * UNIT + tl.arange(0, UNIT)[None, :]
    write(df, at, read(residual, at, inside, UNIT).to(tl.float32) * scale, inside, UNIT)
