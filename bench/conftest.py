"""Time published, ours, ours compiled and the floor in turn, round by round, once they compute the same."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffsda.bench.cases import CASES, OURS, PUBLISHED, TOLERANCE, Case, case, contestants, threads
from diffsda.bench.published.operations import What

torch.set_num_threads(threads())

SECONDS, MOST = 8.0, 41
"""Quick rows get further rounds, as many as fit into so many seconds, and at most so many: the median needs them."""
Maker = Callable[[Case, str], Callable[[], Tensor]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every bench its presets."""
    if "preset" in metafunc.fixturenames:
        metafunc.parametrize("preset", CASES[metafunc.module.WHAT])


@pytest.fixture
def side_by_side(benchmark):
    """Return a function that times everyone doing ``what`` and notes what record and tables need.

    Every timed round of ours is preceded by a round of all others and of the floor, so that a machine whose speed
    drifts slows all alike.
    """

    def run(maker: Maker, what: What, preset: str, least: int) -> None:
        one = case(preset)
        calls = {who: maker(one, who) for who in contestants(what, preset)}
        expected = calls[PUBLISHED]()
        differences: dict[str, float] = {}
        for who in calls.keys() - {PUBLISHED}:
            differences[who] = float((expected - calls[who]()).abs().max() / expected.abs().max())
            assert differences[who] <= TOLERANCE, (
                f"{what}/{preset}: {who} differs from published by {differences[who]:.1e}"
            )
        ours = calls.pop(OURS)
        floor, flops = one.floor(what)
        taken: dict[str, list[float]] = {who: [] for who in (*calls, "floor")}

        def setup() -> None:
            for who, call in calls.items():
                began = time.perf_counter()
                call()
                taken[who].append(time.perf_counter() - began)
            taken["floor"].append(floor())

        began = time.perf_counter()
        setup()
        ours()
        rounds = max(least, min(MOST, int(SECONDS / (time.perf_counter() - began))))
        for times in taken.values():
            times.clear()
        benchmark.group = what
        benchmark.pedantic(ours, setup=setup, rounds=rounds, iterations=1, warmup_rounds=1)
        benchmark.extra_info |= {
            "what": what,
            "preset": preset,
            "batch": one.batch,
            "frames": one.clips.shape[1],
            "threads": torch.get_num_threads(),
            "others_s": {who: times[1:] for who, times in taken.items()},  # the first belongs to the warm-up
            "floor_best_s": floor.seconds,
            "flops": flops,
            "difference": max(differences.values()),
        }

    return run
