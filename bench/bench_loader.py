"""Clips out of video files: ours (DALI where it is installed) beside PyAV, torchcodec, decord and the published way."""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np
import pytest

from diffsda.bench import loader_cases as known
from diffsda.bench.cases import threads

WHAT = "load"
BATCHES, ROUNDS, SECONDS = 2, 5, 6.0
"""Batches of 16 clips in a round; rounds at least, and seconds up to which there are more."""


@pytest.mark.parametrize("name", list(known.SETTINGS))
def test_load(benchmark, name):
    films = known.films(name)
    batches = [films.jobs(step) for step in range(BATCHES)]
    wanted = np.array([plan.indices for _, plan in batches[-1]])
    calls, differences, expected = {}, {}, None
    for who in (known.PUBLISHED, *known.OTHERS, known.OURS):
        if reason := known.absent(who):
            warnings.warn(f"{WHAT}/{name}: {who} is left out: {reason}", stacklevel=1)
            continue
        calls[who] = known.epoch(who, threads(), batches)
        clips = calls[who]()
        assert np.array_equal(known.numbers(clips), wanted), f"{who} gives other frames than those asked for"
        expected = clips if expected is None else expected
        differences[who] = float(np.abs(clips - expected).mean() / 2)
        assert differences[who] <= known.ALIKE, f"{who} differs from published by {differences[who]:.3f} of the range"
    ours, floor = calls.pop(known.OURS), known.floor(threads(), batches)
    taken: dict[str, list[float]] = {who: [] for who in (*calls, "floor")}

    def setup():
        for who, call in {**calls, "floor": floor}.items():
            began = time.perf_counter()
            call()
            taken[who].append(time.perf_counter() - began)

    began = time.perf_counter()
    setup()
    ours()
    rounds = max(ROUNDS, min(41, int(SECONDS / (time.perf_counter() - began))))
    for times in taken.values():
        times.clear()
    benchmark.group = WHAT
    benchmark.pedantic(ours, setup=setup, rounds=rounds, iterations=1, warmup_rounds=1)
    frames = sum(map(len, batches)) * known.VIEW.frames
    others = {who: times[1:] for who, times in taken.items()}  # the first belongs to the warm-up
    every = {known.OURS: benchmark.stats.stats.data, **others}
    benchmark.extra_info |= {
        "what": WHAT,
        "preset": name,
        "batch": sum(map(len, batches)),
        "frames": known.VIEW.frames,
        "threads": threads(),
        "others_s": others,
        "floor_best_s": min(others["floor"]),
        "difference": max(differences.values()),
        "loader": known.ours_is(),
        "frames_per_s": {who: frames / statistics.median(seconds) for who, seconds in every.items()},
    }
