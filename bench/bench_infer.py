"""Whole jobs of ``infer --task reconstruct``: eagerly, compiled and in ONNX Runtime, round by round."""

from __future__ import annotations

import importlib.util
import time

import pytest
import torch

from diffsda.bench.cases import COMPILED, ONNX, OURS
from diffsda.bench.infer_cases import EVERYBODY, JOBS, Job
from diffsda.doctor import compiling

WHAT = "infer"
ROUNDS = 5


def here(who: str) -> bool:
    """Whether somebody can take part on this machine."""
    if who == COMPILED:
        return compiling(False).status == "available"
    return who != ONNX or all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


@pytest.mark.timeout(1800)  # Two networks are compiled.
@pytest.mark.parametrize("name", JOBS)
def test_infer(benchmark, name):
    job = Job.of(name, *JOBS[name])
    others = [who for who in EVERYBODY if who != OURS and here(who)]
    taken: dict[str, list[float]] = {who: [] for who in others}

    def setup() -> None:
        for who in others:
            began = time.perf_counter()
            job.do(who)
            taken[who].append(time.perf_counter() - began)

    setup()  # Compiling, and the first run of a graph, are no part of a job's speed.
    for times in taken.values():
        times.clear()
    benchmark.group = WHAT
    benchmark.pedantic(job.do, args=(OURS,), setup=setup, rounds=ROUNDS, iterations=1, warmup_rounds=1)
    benchmark.extra_info |= {
        "what": WHAT,
        "preset": name,
        "batch": job.one.batch,
        "frames": job.one.clips.shape[1],
        "threads": torch.get_num_threads(),
        "others_s": {who: times[1:] for who, times in taken.items()},  # the first belongs to the warm-up
    }
