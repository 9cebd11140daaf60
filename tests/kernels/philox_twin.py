"""The kernels' dropout generator in plain numpy, bit for bit: Philox 4x32 with 7 rounds."""

import numpy as np

ROUNDS = 7
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
SITE_STEP = 0x9E3779B1
WORD = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(key, counter):
    """Return four words of 32 bits for a key of two words and a counter of four, arrays of uint64 below 2**32."""
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for _ in range(ROUNDS):
        first, second = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (second >> HALF) ^ c1 ^ k0, second & WORD, (first >> HALF) ^ c3 ^ k1, first & WORD
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return c0, c1, c2, c3


def kept(seed, offset, site, vectors, threshold):
    """Return which elements stay, as ``kernels/fused_dropout.py`` does.

    Shapes: vectors (..., V), the number of every run of eight elements -> boolean (..., 8 V).
    """
    vectors = np.asarray(vectors, dtype=np.int64).astype(np.uint64)
    seed, offset = (np.uint64(int(n) % 2**64) for n in (seed, offset))
    place = (offset >> HALF) ^ np.uint64(site * SITE_STEP % 2**32)
    same = np.zeros_like(vectors)
    words = philox((seed & WORD, seed >> HALF), (vectors & WORD, vectors >> HALF, same + (offset & WORD), same + place))
    sixteen = np.uint64(0xFFFF)
    bits = np.stack([half for word in words for half in (word & sixteen, word >> np.uint64(16))], axis=-1)
    return bits.reshape(*vectors.shape[:-1], -1) >= np.uint64(threshold)
