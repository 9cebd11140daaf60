"""Which elements dropout keeps, worked out inside a kernel: one Philox call for eight elements.

Philox at 7 rounds passes BigCrush (Salmon et al. 2011) and costs about 5 integer operations an element here;
a call an element at 10 rounds would cost 70, more than a memory-bound kernel has time for.
"""

from __future__ import annotations

import triton
import triton.language as tl

ROUNDS = tl.constexpr(7)
VECTOR = tl.constexpr(8)
"""Consecutive elements that share a Philox call: four 32-bit words, 16 bits an element."""


@triton.jit
def kept(state, site, vector, THRESHOLD: tl.constexpr):
    """Return which elements stay.

    state: pointer to (seed, offset); site: number of the call site; vector: tile (R, V) with the number of every
    run of eight elements -> boolean tile (R, 8 V). An element is dropped when its 16 bits are below THRESHOLD.
    """
    seed = tl.load(state)
    offset = tl.load(state + 1)
    low = vector.to(tl.uint32)
    high = (vector >> 32).to(tl.uint32)
    none = low * 0
    # Sites are spread over the last word so that no two share a counter at the same offset.
    place = (offset >> 32).to(tl.uint32) ^ (site.to(tl.uint32) * 0x9E3779B1)
    r0, r1, r2, r3 = tl.philox(seed, low, high, none + offset.to(tl.uint32), none + place, ROUNDS)
    words = tl.join(tl.join(r0, r2), tl.join(r1, r3))  # (R, V, 2, 2)
    bits = tl.join(words & 0xFFFF, words >> 16)  # (R, V, 2, 2, 2)
    bits = tl.reshape(bits, [vector.shape[0], vector.shape[1] * VECTOR])
    return bits >= THRESHOLD
