"""Kernels with a fault each, for the tests of the ahead-of-time check."""

import triton
import triton.language as tl


@triton.jit
def inner(source, place):
    """Load through an inlined function: the access belongs to this line."""
    return tl.load(source + place)  # wide


@triton.jit
def sound(source, target, n, BLOCK: tl.constexpr):
    """Nothing is wrong here; the scalar accesses are unmarked."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    values = inner(source, place) + tl.load(
        source + place,
        mask=place < n,
    )  # wide
    first = tl.load(source)
    tl.store(target + place, values * first, mask=place < n)  # wide


@triton.jit
def narrow(source, target, n, BLOCK: tl.constexpr):
    """Every second element: no two lie side by side, though the store is wide."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(source + 2 * place, mask=place < n)  # wide
    tl.store(target + place, values, mask=place < n)  # wide


@triton.jit
def narrow_inside(source, target, n, BLOCK: tl.constexpr):
    """The narrow access stands in another function, which is inlined."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(target + place, inner(source, 2 * place), mask=place < n)


@triton.jit
def greedy(source, target, n, BLOCK: tl.constexpr):
    """Keep more values than there are registers: all of them are needed twice."""
    place = tl.arange(0, BLOCK)
    values = tl.load(source + place, mask=place < n).to(tl.float32)
    tl.store(target + place, values - tl.sum(values), mask=place < n)


@triton.jit
def roomy(source, target, n, BLOCK: tl.constexpr):
    """A product of tiles that fill the shared memory of a large GPU only."""
    rows, columns = tl.arange(0, BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
    sums = tl.zeros((BLOCK, BLOCK), tl.float32)
    for i in range(0, n, BLOCK):
        a = tl.load(source + rows * n + i + columns)
        b = tl.load(source + (i + rows) * n + columns)
        sums = tl.dot(a, b, sums)
    tl.store(target + rows * BLOCK + columns, sums)


@triton.jit
def broken(source, target, n, BLOCK: tl.constexpr):
    """Shapes that do not go together."""
    tl.store(target + tl.arange(0, BLOCK), tl.load(source + tl.arange(0, 2 * BLOCK)))
