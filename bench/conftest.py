"""Time ours and published in turn, round by round, check that they compute the same, and time the floor."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffsda.bench.cases import TOLERANCE, Case, case

# One thread: a second one waits by spinning, which ruins every figure where cores are shared.
torch.set_num_threads(1)

Maker = Callable[[Case, str], Callable[[], Tensor]]


@pytest.fixture
def side_by_side(benchmark):
    """Return a function that times both ways of doing ``what`` and notes what record and tables need.

    Every timed round of ours is preceded by a round of the published execution, so that a machine whose speed
    drifts slows both alike.
    """

    def run(maker: Maker, what: str, preset: str, rounds: int) -> None:
        one = case(preset)
        theirs, ours = maker(one, "published"), maker(one, "ours")
        expected, got = theirs(), ours()
        difference = float((expected - got).abs().max() / expected.abs().max())
        assert difference <= TOLERANCE, f"{what}/{preset}: ours differs from published by {difference:.1e}"
        published: list[float] = []

        def setup() -> None:
            began = time.perf_counter()
            theirs()
            published.append(time.perf_counter() - began)

        benchmark.group = what
        benchmark.pedantic(ours, setup=setup, rounds=rounds, iterations=1, warmup_rounds=1)
        floor, flops = one.floor(what)
        benchmark.extra_info |= {
            "what": what,
            "preset": preset,
            "batch": one.batch,
            "frames": one.clips.shape[1],
            "published_s": published[1:],  # the first belongs to the warm-up
            "floor_s": floor,
            "flops": flops,
            "difference": difference,
        }

    return run
