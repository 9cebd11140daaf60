"""How much sampling is to come, said once before it begins, so that people can stop it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffsda.disentangler import Progress
    from diffsda.tasks.batches import Track

LONG = 10_000
"""Evaluations of one clip by the network from which on it is worth a line."""


def forecasting(track: Track, what: str, clips: int, times: str) -> Track:
    """Return a track that says how much work the first sampling is, where that is much.

    clips: how many are sampled at a time at most. times: what is done over again, in words, or nothing.
    """
    said = False

    def told(total: int) -> Progress:
        nonlocal said
        # A solver step asks the network twice.
        if not said and 2 * total * clips >= LONG:
            said = True
            more = f", for {times}" if times else ""
            print(
                f"{what}: sampling up to {clips} clips x {2 * total} network evaluations first{more}; Ctrl-C stops it",
                file=sys.stderr,
                flush=True,
            )
        return track(total)

    return told
