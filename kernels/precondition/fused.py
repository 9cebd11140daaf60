"""precondition: c_in(sigma) (clean + sigma noise), cast and laid out, in one pass.

Read: clean and noise once each, one sigma a run of elements. Written: the result once. 8 + 2 bytes an element from
float32 to bfloat16. Float32: everything in between.

``flat``: the layout stays. One program covers VECTORS runs of UNIT elements of any rows; wide on both sides
where all elements together are a multiple of eight.
``woven``: three planes to channels_last, pixels a multiple of eight. One program covers GROUPS runs of eight
pixels of any images; both sides are wide, the change of layout happens in registers.
``tiled``: any other number of channels or pixels. One program covers PIXELS pixels of one image, all channels; the
reading side is wide (planes), the writing side where channels are a power of two.
Largest: 2^30 elements a row, 256 channels to channels_last; any number of rows.
"""

from __future__ import annotations

import triton
import triton.language as tl

from diffsda.kernels.fused_access import read, write
from diffsda.kernels.precondition.fused_layout import rows_of, rows_of_runs, woven


@triton.jit
def scaled(clean, noise, sigma, sigma_data):
    """Return c_in (clean + sigma noise) in float32."""
    noisy = tl.fma(sigma, noise.to(tl.float32), clean.to(tl.float32))
    return noisy * (1 / tl.sqrt(sigma * sigma + sigma_data * sigma_data))


@triton.jit(do_not_specialize=["vectors"])
def precondition_flat(
    clean, noise, sigma, y, vectors, sigma_data,
    ROW: tl.constexpr, VECTORS: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    """Scale VECTORS runs of UNIT elements; rows are ROW elements long."""
    first = tl.program_id(0).to(tl.int64) * VECTORS
    local = tl.arange(0, VECTORS)
    mask = (first + local < vectors)[:, None]
    row = rows_of_runs(first, local, ROW, UNIT)
    level = tl.load(sigma + row, mask=mask, other=1.0).to(tl.float32)
    at = (first + local)[:, None] * UNIT + tl.arange(0, UNIT)[None, :]
    x, unit = read(clean, at, mask, UNIT), read(noise, at, mask, UNIT)
    write(y, at, scaled(x, unit, level, sigma_data), mask, UNIT)


@triton.jit(do_not_specialize=["groups"])
def precondition_woven(
    clean, noise, sigma, y, groups, sigma_data, PER_IMAGE: tl.constexpr, GROUPS: tl.constexpr
):  # fmt: skip
    """Scale GROUPS runs of eight pixels of three planes and write pixel after pixel."""
    first = tl.program_id(0).to(tl.int64) * GROUPS
    local = tl.arange(0, GROUPS)
    image, run = rows_of(first, local, PER_IMAGE)
    inside = first + local < groups
    mask = inside[:, None]
    level = tl.load(sigma + image, mask=inside, other=1.0).to(tl.float32)[:, None]
    at = (image * (3 * PER_IMAGE) + run)[:, None] * 8 + tl.arange(0, 8)[None, :]
    red = tl.load(clean + at, mask=mask, other=0.0)  # wide
    green = tl.load(clean + at + PER_IMAGE * 8, mask=mask, other=0.0)  # wide
    blue = tl.load(clean + at + PER_IMAGE * 16, mask=mask, other=0.0)  # wide
    red = scaled(red, tl.load(noise + at, mask=mask, other=0.0), level, sigma_data)  # wide
    green = scaled(green, tl.load(noise + at + PER_IMAGE * 8, mask=mask, other=0.0), level, sigma_data)  # wide
    blue = scaled(blue, tl.load(noise + at + PER_IMAGE * 16, mask=mask, other=0.0), level, sigma_data)  # wide
    kind = y.dtype.element_ty
    head, middle, tail = woven(red.to(kind), green.to(kind), blue.to(kind))
    to = (first + local)[:, None] * 24 + tl.arange(0, 8)[None, :]
    tl.store(y + to, head, mask=mask)  # wide
    tl.store(y + to + 8, middle, mask=mask)  # wide
    tl.store(y + to + 16, tail, mask=mask)  # wide


@triton.jit
def precondition_tiled(
    clean, noise, sigma, y, sigma_data,
    C: tl.constexpr, HW: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Scale PIXELS pixels of one image, all channels, and write pixel after pixel."""
    tiles: tl.constexpr = (HW + PIXELS - 1) // PIXELS
    image = tl.program_id(0) // tiles
    pixel = tl.program_id(0) % tiles * PIXELS + tl.arange(0, PIXELS)
    channel = tl.arange(0, CHANNELS)
    mask = (pixel < HW)[:, None] & (channel < C)[None, :]
    base = image.to(tl.int64) * (C * HW)
    level = tl.load(sigma + image).to(tl.float32)
    at = base + channel[None, :] * HW + pixel[:, None]
    x = tl.load(clean + at, mask=mask, other=0.0)
    unit = tl.load(noise + at, mask=mask, other=0.0)
    to = base + pixel[:, None] * C + channel[None, :]
    tl.store(y + to, scaled(x, unit, level, sigma_data).to(y.dtype.element_ty), mask=mask)
