"""Encode clips and sample them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from diffsda.disentangler import Disentangler
from diffsda.tasks.batches import Track, lengths_of, seeds, silent, slices, solver_steps

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


def reconstruct(
    model: Disentangler,
    clips: Clips,
    *,
    noise: Literal["own", "fresh"] = "own",
    steps: int | None = None,
    seed: int = 0,
    batch: int = 64,
    track: Track = silent,
) -> np.ndarray:
    """Reconstruct whitened clips, from their own stochastic code or from fresh noise.

    Shapes: clips.x (N, V, ...) -> same. Clip i draws from seed + i, whatever the batch.
    Raises: InputError as ``Disentangler.reconstruct``.
    """
    parts = list(slices(len(clips), batch))
    solver = solver_steps(model, steps) * (2 if noise == "own" else 1)
    progress = track(len(parts) * solver)
    out = [
        model.reconstruct(
            clips.x[r], lengths_of(clips, r), noise=noise, steps=steps, seed=seeds(seed, r), progress=progress
        )
        for r in parts
    ]
    return np.concatenate([y.cpu().numpy() for y in out])
