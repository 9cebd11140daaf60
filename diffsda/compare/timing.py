"""How long a swap takes: systems in turns, so that what else the machine does hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from diffsda.disentangler import StartNoise
from diffsda.evaluate.job import Job
from diffsda.tasks.swap import swap

BATCH = 8
"""Swaps at once."""
REPEATS = 3
"""Swaps of a batch that count, after one that does not."""


def policies(job: Job) -> tuple[StartNoise, ...]:
    """Return from where a system's swaps are timed: from where they are scored, and from fresh noise."""
    return tuple(dict.fromkeys((job.start, "fresh"))) if job.model.stochastic else (job.start,)


def swap_seconds(jobs: Sequence[Job]) -> list[dict[str, float]]:
    """Return seconds a clip for one swap, by start noise, of each job's model, on its first clips."""
    taken: list[dict[str, list[float]]] = [{policy: [] for policy in policies(job)} for job in jobs]
    for _ in range(1 + REPEATS):
        for job, held in zip(jobs, taken, strict=True):
            for policy, times in held.items():
                times.append(_once(job, policy))  # type: ignore[arg-type]
    return [{policy: statistics.median(times[1:]) for policy, times in held.items()} for held in taken]


def batch(job: Job) -> int:
    """Return how many swaps are made at once."""
    return min(BATCH, len(job.test))


def _once(job: Job, noise: StartNoise) -> float:
    clips = job.test.select(slice(0, batch(job)))
    # Turned around, so that the two donors are different clips of different lengths.
    donors = clips.select(slice(None, None, -1)) if noise != "static" else clips
    began = time.perf_counter()
    swap(job.model, donors, clips, noise=noise, steps=job.steps, seed=0, batch=BATCH)
    return (time.perf_counter() - began) / len(clips)
