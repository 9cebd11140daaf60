"""Nearest code of every row: x (N, D), codebook (K, D) -> index (N,) int64, with no distance ever written.

One program covers ROWS rows and walks through the codebook, CODES codes at a time. Every lane keeps the best distance
it has met and where; lanes are compared once, at the end, the lowest index winning among equals.
``nearest_direct``, narrow rows (D <= 8): the sum of squared differences; a row's values stay in registers.
``nearest_products``, any D: |c|^2 - 2 x c by products over CHUNK columns at a time, bfloat16 and float16 on the
tensor cores, float32 without TF32.

Bytes: x read once by the direct kernel and once per CODES codes by the other (from the cache); 8 bytes a row written;
the codebook read once by every program, from the L2 cache. The matrix of distances, 4 N K bytes, is not moved. The
work is arithmetic, about 3 D + 3 operations a pair of row and code, so that no access is required to be wide.
In float32: differences, squares, products' sums, comparisons. Largest: K = 2^28, N as memory allows.
"""

from __future__ import annotations

import triton
import triton.language as tl

FAR = tl.constexpr(float("inf"))
NONE = tl.constexpr(2**31 - 1)


@triton.jit
def closer(best, where, distance, codes, K: tl.constexpr):
    """Return the better of what is known and the new distances, lane by lane; earlier codes win among equals."""
    better = (distance < best) & (codes < K)
    return tl.where(better, distance, best), tl.where(better, codes, where)


@triton.jit
def finish(index, rows, best, where, N):
    """Write the code of the smallest distance of each row, the lowest of equals."""
    least = tl.min(best, 1)
    first = tl.min(tl.where(best == least[:, None], where, NONE), 1)
    # A row with no finite distance at all takes code 0, as argmin would.
    first = tl.where(first == NONE, 0, first)
    tl.store(index + rows, first.to(tl.int64), mask=rows < N)


@triton.jit
def nearest_direct(
    x,
    book,
    index,
    N,
    x_row,
    x_column,
    K: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    CODES: tl.constexpr,
):
    """Compare ROWS rows with all codes by squared differences; book is (D, K), float32."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    there = rows < N
    # Tuples of D columns: nothing here is as long as a power of two would make it.
    values = ()
    for d in tl.static_range(D):
        place = rows * x_row + tl.full((), d, tl.int64) * x_column
        column = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
        values = values + (column,)
    best = tl.full((ROWS, CODES), FAR, tl.float32)
    where = tl.full((ROWS, CODES), NONE, tl.int32)
    for start in range(0, K, CODES):
        codes = start + tl.arange(0, CODES)
        distance = tl.zeros((ROWS, CODES), tl.float32)
        for d in tl.static_range(D):
            code = tl.load(book + d * K + codes, mask=codes < K, other=0.0)
            difference = values[d][:, None] - code[None, :]
            distance += difference * difference
        best, where = closer(best, where, distance, codes[None, :], K)
    finish(index, rows, best, where, N)


@triton.jit
def nearest_products(
    x,
    book,
    index,
    N,
    x_row,
    x_column,
    book_row,
    book_column,
    K: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    CODES: tl.constexpr,
    CHUNK: tl.constexpr,
    NATIVE: tl.constexpr,
):
    """Compare ROWS rows with all codes by products; NATIVE: both in one dtype, multiplied as they are."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    best = tl.full((ROWS, CODES), FAR, tl.float32)
    where = tl.full((ROWS, CODES), NONE, tl.int32)
    for start in range(0, K, CODES):
        codes = start + tl.arange(0, CODES)
        place = codes.to(tl.int64) * book_row
        products = tl.zeros((ROWS, CODES), tl.float32)
        squares = tl.zeros((CODES,), tl.float32)
        for begin in range(0, D, CHUNK):
            d = (begin + tl.arange(0, CHUNK)).to(tl.int64)
            a = tl.load(
                x + rows[:, None] * x_row + d[None, :] * x_column,
                mask=(rows[:, None] < N) & (d[None, :] < D),
                other=0.0,
            )
            b = tl.load(
                book + place[None, :] + d[:, None] * book_column,
                mask=(codes[None, :] < K) & (d[:, None] < D),
                other=0.0,
            )  # (CHUNK, CODES)
            if not NATIVE:
                a = a.to(tl.float32)
                b = b.to(tl.float32)
            products = tl.dot(a, b, products, input_precision="ieee")
            wide = b.to(tl.float32)
            squares += tl.sum(wide * wide, 0)
        best, where = closer(best, where, squares[None, :] - 2.0 * products, codes[None, :], K)
    finish(index, rows, best, where, N)
