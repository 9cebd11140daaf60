"""Three planes of pixels to pixels of three channels, and tiles of rows: what precondition and edm_loss share.

A tile has no axis of three, so the change of layout is spelt out: every thread holds eight pixels of each plane and
writes the 24 values as three runs of eight, so that loads of planes and stores of pixels are both 16 bytes wide.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rows_of(first, local, PER_ROW: tl.constexpr):
    """Return in which row things number first + local lie and where in it, PER_ROW to a row; one wide division."""
    row = first // PER_ROW
    inside = (first - row * PER_ROW).to(tl.int32) + local
    return row + inside // PER_ROW, inside % PER_ROW


@triton.jit
def rows_of_runs(first, local, ROW: tl.constexpr, UNIT: tl.constexpr):
    """Return the rows, ROW elements long, of the runs of UNIT elements number first + local (V,).

    Shape: (V, 1) where every run lies in one row, else (V, UNIT).
    """
    if ROW % UNIT == 0:
        row, _ = rows_of(first, local, ROW // UNIT)
        row = row[:, None]
    else:
        row, _ = rows_of(first * UNIT, local[:, None] * UNIT + tl.arange(0, UNIT)[None, :], ROW)
    return row


@triton.jit
def apart(x):
    """Take the eight columns of x (G, 8) apart."""
    x = tl.reshape(x, [x.shape[0], 2, 2, 2])
    even, odd = tl.split(x)  # (G, 2, 2): columns 4 i + 2 j and one more
    x04, x26 = tl.split(even)
    x15, x37 = tl.split(odd)
    x0, x4 = tl.split(x04)
    x2, x6 = tl.split(x26)
    x1, x5 = tl.split(x15)
    x3, x7 = tl.split(x37)
    return x0, x1, x2, x3, x4, x5, x6, x7


@triton.jit
def together(x0, x1, x2, x3, x4, x5, x6, x7):
    """Put eight columns (G,) side by side: (G, 8)."""
    even = tl.join(tl.join(x0, x4), tl.join(x2, x6))
    odd = tl.join(tl.join(x1, x5), tl.join(x3, x7))
    return tl.reshape(tl.join(even, odd), [x0.shape[0], 8])


@triton.jit
def woven(a, b, c):
    """Return a0 b0 c0 a1 b1 c1 ... as three tiles (G, 8), from planes a, b, c (G, 8)."""
    a0, a1, a2, a3, a4, a5, a6, a7 = apart(a)
    b0, b1, b2, b3, b4, b5, b6, b7 = apart(b)
    c0, c1, c2, c3, c4, c5, c6, c7 = apart(c)
    return (
        together(a0, b0, c0, a1, b1, c1, a2, b2),
        together(c2, a3, b3, c3, a4, b4, c4, a5),
        together(b5, c5, a6, b6, c6, a7, b7, c7),
    )
