"""Where the random numbers of a job come from, so that seeds 0 and 1 have nothing in common."""

from __future__ import annotations

from typing import Literal

import numpy as np

Purpose = Literal["noise", "prior", "other clips"]


def base(seed: int, purpose: Purpose) -> int:
    """Return the seed of clip 0 of a job; clip i draws from this + i. The same for every model; below 2^61.

    ``noise`` is what clips start from, ``prior`` what factors are drawn from. Consecutive seeds would make sample i of
    seed 1 sample i + 1 of seed 0, and seeds of a table one and the same set of clips, their interval far too narrow.
    """
    # PyTorch's generators look at the low 32 bits alone. Ranges of 10 000 clips meet there once in 200 000 times.
    drawn = np.random.SeedSequence((seed, *purpose.encode())).generate_state(1, np.uint64)[0]
    return int(drawn >> np.uint64(3))
