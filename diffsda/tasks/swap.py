"""Swap factors between clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffsda.disentangler import Disentangler, StartNoise
from diffsda.errors import InputError
from diffsda.tasks.batches import Track, lengths_of, seeds, silent, slices, solver_steps

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


def pairs(static: int, dynamic: int, *, grid: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Pair static with dynamic donors: one to one, one to all, or (``grid``) all with all.

    Returns the static and the dynamic donor of each swap; a grid runs over dynamic donors fastest.
    Raises: InputError if the numbers differ and neither is one.
    """
    if grid:
        return np.repeat(np.arange(static), dynamic), np.tile(np.arange(dynamic), static)
    if static != dynamic and 1 not in (static, dynamic):
        raise InputError(
            f"swap: got {static} static and {dynamic} dynamic donors, expected as many of each, one of either, "
            "or --grid for all pairs"
        )
    count = max(static, dynamic)
    return np.arange(count) % static, np.arange(count) % dynamic


def swap(
    model: Disentangler,
    static: Clips,
    dynamic: Clips,
    *,
    noise: StartNoise | None = None,
    steps: int | None = None,
    seed: int = 0,
    batch: int = 64,
    track: Track = silent,
) -> np.ndarray:
    """Give clip i of ``static`` the dynamics of clip i of ``dynamic``; both whitened, as many of each.

    ``noise``: None takes the model's own ``policy``.
    Shapes: (N, V', ...) and (N, V, ...) -> (N, V, ...). Swap i draws from seed + i, whatever the batch.
    Source: DiffSDA appendix B.4.
    Raises: InputError as ``Disentangler.swap``.
    """
    noise = noise or model.policy
    parts = list(slices(len(dynamic), batch))
    solver = solver_steps(model, steps) * (2 if noise in ("dynamic", "static") else 1)
    progress = track(len(parts) * solver)
    out = [
        model.swap(
            static.x[r],
            dynamic.x[r],
            noise=noise,
            steps=steps,
            seed=seeds(seed, r),
            lengths_static=lengths_of(static, r),
            lengths_dynamic=lengths_of(dynamic, r),
            progress=progress,
        )
        for r in parts
    ]
    return np.concatenate([y.cpu().numpy() for y in out])
