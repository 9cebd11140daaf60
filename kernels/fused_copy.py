"""Copy memory: the kernel that every other memory-bound one is measured against.

One program covers BLOCK elements, 16 bytes a thread and access. Reads and writes every byte once; sums nothing.
Largest size: 2^63 elements.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def copy(source, target, n, BLOCK: tl.constexpr):
    """Copy n elements."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(source + place, mask=place < n)  # wide
    tl.store(target + place, values, mask=place < n)  # wide
