"""How long a swap takes: systems in turns, so that what else the machine does hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from diffsda.disentangler import Disentangler, StartNoise
from diffsda.evaluate.job import Job
from diffsda.tasks.swap import swap

BATCH = 8
"""Swaps at once."""
REPEATS = 3
"""Swaps of a batch that count, after one that does not."""


def policies(job: Job) -> tuple[StartNoise, ...]:
    """Return from where a system's swaps are timed: from where they are scored, and from fresh noise."""
    return tuple(dict.fromkeys((job.start, "fresh"))) if job.model.stochastic else (job.start,)


def plain_model(job: Job, path: str) -> Disentangler:
    """Return a job's model as the module it was trained as, in float32; a prepared one is read from its file again.

    Raises: as ``load``.
    """
    from torch import nn

    if isinstance(job.model, nn.Module):
        return job.model
    from diffsda.checkpoint import load

    return load(path, device=job.model._like().device)


def swap_seconds(timed: Sequence[tuple[Job, Disentangler]]) -> list[dict[str, float]]:
    """Return seconds a clip for one swap, by start noise, of each model, on its job's first clips."""
    taken: list[dict[StartNoise, list[float]]] = [{policy: [] for policy in policies(job)} for job, _ in timed]
    for _ in range(1 + REPEATS):
        for (job, model), held in zip(timed, taken, strict=True):
            for policy, times in held.items():
                times.append(_once(job, model, policy))
    return [{policy: float(f"{statistics.median(times[1:]):.3g}") for policy, times in held.items()} for held in taken]


def batch(job: Job) -> int:
    """Return how many swaps are made at once."""
    return min(BATCH, len(job.test))


def _once(job: Job, model: Disentangler, noise: StartNoise) -> float:
    clips = job.test.select(slice(0, batch(job)))
    # Turned around, so that the two donors are different clips of different lengths.
    donors = clips.select(slice(None, None, -1)) if noise != "static" else clips
    began = time.perf_counter()
    swap(model, donors, clips, noise=noise, steps=job.steps, seed=0, batch=BATCH)
    return (time.perf_counter() - began) / len(clips)
