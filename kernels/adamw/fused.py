"""adamw as Triton kernels over a whole list of tensors: three launches whatever its length.

1. ``squares``: one program a chunk of a tensor; its sum of squared gradients goes to a workspace.
2. ``finish``: one program; adds the sums in order, in float64, so that a step can be repeated to the bit. Works out
   norm, clipping, bias corrections and the average's weight, from numbers that may live on the device.
3. ``update``: one program a chunk; everything else, in one pass.

A chunk row is (tensor, first element / 16, elements to take 16 bytes at a time / 16, elements); a pointer row holds
the addresses of a tensor's weights, gradients, first and second moments, average and copy. Unaligned tensors and
the up to 15 last elements of the others are done an element at a time.

Bytes a parameter with float32 gradients and a bfloat16 copy: ``update`` reads p, g, m, v, average 4 each, writes p,
m, v, average 4 each and the copy 2: 38 (28 without average and copy). ``squares`` reads g once more: 42 moved. A
thread of ``update`` has four elements: 16 bytes of float32, and 8 of a bfloat16 copy or gradient, since eight would
send p, m, v and average through shared memory between loads and stores.

Everything is computed in float32, except ``finish``. Largest size: 2^31 chunks of 16384 elements.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

COLUMNS = tl.constexpr(8)
"""int64 of a pointer row; two are spare."""
FIELDS = tl.constexpr(4)
"""int64 of a chunk row."""
VECTOR = tl.constexpr(16)
"""What chunk rows count in: the compiler believes a product by 16, and hints on loaded values get lost."""
TYPES = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
"""What a table's untyped addresses point to."""


@triton.jit
def _wide(pointers, tensor, column: tl.constexpr, first, TYPE: tl.constexpr):
    """Return where a chunk begins, told to be 16-byte aligned: for tensors that are."""
    address = tl.load(pointers + tensor * COLUMNS + column)
    return tl.multiple_of(address.to(tl.pointer_type(TYPE)), 16) + first


@triton.jit
def _narrow(pointers, tensor, column: tl.constexpr, first, TYPE: tl.constexpr):
    """Return where a chunk begins, for any tensor."""
    address = tl.load(pointers + tensor * COLUMNS + column)
    return address.to(tl.pointer_type(TYPE)) + first


@triton.jit
def squares(chunks, pointers, partials, GRAD: tl.constexpr, BLOCK: tl.constexpr):
    """Add up the squared gradients of a chunk."""
    row = chunks + tl.program_id(0).to(tl.int64) * FIELDS
    tensor, first = tl.load(row), tl.load(row + 1) * VECTOR
    whole, end = tl.load(row + 2).to(tl.int32) * VECTOR, tl.load(row + 3).to(tl.int32)
    g_at = _wide(pointers, tensor, 1, first, GRAD)
    narrow_g = _narrow(pointers, tensor, 1, first, GRAD)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, whole, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(g_at + at, mask=at < whole, other=0.0).to(tl.float32)  # wide
        total += value * value
    for start in range(whole, end, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(narrow_g + at, mask=at < end, other=0.0).to(tl.float32)
        total += value * value
    tl.store(partials + tl.program_id(0), tl.sum(total))


@triton.jit
def _one_minus_power(BETA: tl.constexpr, step):
    """Return 1 - BETA^step in float64, for steps to 2^31: a power by squaring, as exact as its products."""
    power = tl.full([], 1.0, tl.float64)
    square = tl.full([], BETA, tl.float64)
    left = step.to(tl.int64)
    for _ in range(31):
        power = tl.where(left % 2 == 1, power * square, power)
        square = square * square
        left = left // 2
    return 1.0 - power


@triton.jit
def finish(
    partials,
    count,
    norm,
    scalars,
    lr,
    lr_at,
    step,
    step_at,
    weight,
    decay_at,
    clip,
    weight_decay,
    BETA1: tl.constexpr,
    BETA2: tl.constexpr,
    CLIP: tl.constexpr,
    LR_AT: tl.constexpr,
    STEP_AT: tl.constexpr,
    DECAY_AT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Turn sums and settings into the few numbers that ``update`` needs."""
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, count, BLOCK):
        at = start + tl.arange(0, BLOCK)
        total += tl.load(partials + at, mask=at < count, other=0.0).to(tl.float64)
    length = tl.sqrt(tl.sum(total))
    tl.store(norm, length.to(tl.float32))
    one = tl.full([], 1.0, tl.float64)
    coefficient = one
    if CLIP:
        ratio = clip / (length + 1e-6)
        # Written so that a norm that is not a number stays one, as in torch.
        coefficient = tl.where(ratio > 1.0, one, ratio)
    rate = one * (tl.load(lr_at) if LR_AT else lr)
    number = one * (tl.load(step_at) if STEP_AT else step)
    towards = (one - tl.load(decay_at)) if DECAY_AT else one * weight
    tl.store(scalars, coefficient.to(tl.float32))
    tl.store(scalars + 1, (rate * weight_decay).to(tl.float32))
    tl.store(scalars + 2, (rate / _one_minus_power(BETA1, number)).to(tl.float32))
    tl.store(scalars + 3, (1.0 / tl.sqrt(_one_minus_power(BETA2, number))).to(tl.float32))
    tl.store(scalars + 4, towards.to(tl.float32))


@triton.jit
def _moved(p, g, m, v, coefficient, shrink, size, root, eps, BETA1: tl.constexpr, BETA2: tl.constexpr):
    """Return weights and moments after one update."""
    g = g.to(tl.float32) * coefficient
    m = m + (g - m) * (1 - BETA1)
    v = v * BETA2 + g * g * (1 - BETA2)
    p = p - shrink * p
    p = p - size * m / (tl.sqrt(v) * root + eps)
    return p, m, v


@triton.jit
def _averaged(average, p, towards):
    """Interpolate as torch.lerp does, from the nearer end."""
    return tl.where(towards < 0.5, average + towards * (p - average), p - (p - average) * (1 - towards))


@triton.jit
def update(
    chunks,
    pointers,
    scalars,
    eps,
    BETA1: tl.constexpr,
    BETA2: tl.constexpr,
    GRAD: tl.constexpr,
    COPY: tl.constexpr,
    AVERAGED: tl.constexpr,
    COPIED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Update, average and copy a chunk."""
    row = chunks + tl.program_id(0).to(tl.int64) * FIELDS
    tensor, first = tl.load(row), tl.load(row + 1) * VECTOR
    whole, end = tl.load(row + 2).to(tl.int32) * VECTOR, tl.load(row + 3).to(tl.int32)
    coefficient, shrink, size = tl.load(scalars), tl.load(scalars + 1), tl.load(scalars + 2)
    root, towards = tl.load(scalars + 3), tl.load(scalars + 4)
    p_at = _wide(pointers, tensor, 0, first, tl.float32)
    g_at = _wide(pointers, tensor, 1, first, GRAD)
    m_at = _wide(pointers, tensor, 2, first, tl.float32)
    v_at = _wide(pointers, tensor, 3, first, tl.float32)
    a_at = _wide(pointers, tensor, 4, first, tl.float32)
    c_at = _wide(pointers, tensor, 5, first, COPY)
    for start in range(0, whole, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < whole
        p = tl.load(p_at + at, mask=inside, other=0.0)  # wide
        if GRAD.primitive_bitwidth == 32:
            g = tl.load(g_at + at, mask=inside, other=0.0)  # wide
        else:
            g = tl.load(g_at + at, mask=inside, other=0.0)
        m = tl.load(m_at + at, mask=inside, other=0.0)  # wide
        v = tl.load(v_at + at, mask=inside, other=0.0)  # wide
        p, m, v = _moved(p, g, m, v, coefficient, shrink, size, root, eps, BETA1, BETA2)
        tl.store(p_at + at, p, mask=inside)  # wide
        tl.store(m_at + at, m, mask=inside)  # wide
        tl.store(v_at + at, v, mask=inside)  # wide
        if AVERAGED:
            a = tl.load(a_at + at, mask=inside, other=0.0)  # wide
            tl.store(a_at + at, _averaged(a, p, towards), mask=inside)  # wide
        if COPIED:
            tl.store(c_at + at, p.to(COPY), mask=inside)
    narrow_p = _narrow(pointers, tensor, 0, first, tl.float32)
    narrow_g = _narrow(pointers, tensor, 1, first, GRAD)
    narrow_m = _narrow(pointers, tensor, 2, first, tl.float32)
    narrow_v = _narrow(pointers, tensor, 3, first, tl.float32)
    narrow_a = _narrow(pointers, tensor, 4, first, tl.float32)
    narrow_c = _narrow(pointers, tensor, 5, first, COPY)
    for start in range(whole, end, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < end
        p = tl.load(narrow_p + at, mask=inside, other=0.0)
        g = tl.load(narrow_g + at, mask=inside, other=0.0)
        m = tl.load(narrow_m + at, mask=inside, other=0.0)
        v = tl.load(narrow_v + at, mask=inside, other=0.0)
        p, m, v = _moved(p, g, m, v, coefficient, shrink, size, root, eps, BETA1, BETA2)
        tl.store(narrow_p + at, p, mask=inside)
        tl.store(narrow_m + at, m, mask=inside)
        tl.store(narrow_v + at, v, mask=inside)
        if AVERAGED:
            a = tl.load(narrow_a + at, mask=inside, other=0.0)
            tl.store(narrow_a + at, _averaged(a, p, towards), mask=inside)
        if COPIED:
            tl.store(narrow_c + at, p.to(COPY), mask=inside)
