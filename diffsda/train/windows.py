"""Random windows of clips: what is static must be readable from any part of a clip."""

from __future__ import annotations

import numpy as np
import torch

from diffsda.train.data import Batch


def cut(batch: Batch, share: float, seed: int) -> Batch:
    """Keep a random window of every clip, at least ``share`` of its frames (and 2) long.

    Length and start are uniform; windows depend on ``seed`` and the clip's place in the batch alone. Frames beyond a
    window are 0. A share of 1 keeps clips whole.
    Source: the paper draws its clips as windows of longer recordings; windows of varied length are ours.
    """
    if share >= 1:
        return batch
    clips, frames = batch.x.shape[:2]
    draw = np.random.default_rng(seed)
    whole = np.full(clips, frames) if batch.lengths is None else batch.lengths.numpy()
    least = np.minimum(np.maximum(np.ceil(share * whole).astype(np.int64), 2), whole)
    kept = draw.integers(least, whole + 1)
    start = draw.integers(0, whole - kept + 1)
    longest = int(kept.max())
    index = np.minimum(start[:, None] + np.arange(longest), frames - 1)
    rows, places = torch.arange(clips)[:, None], torch.from_numpy(index)
    real = torch.from_numpy(np.arange(longest) < kept[:, None])

    def window(values: torch.Tensor) -> torch.Tensor:
        taken = values[rows, places]
        return taken * real.reshape(*real.shape, *(1,) * (taken.ndim - 2))

    return Batch(window(batch.x), torch.from_numpy(kept), None if batch.mask is None else window(batch.mask))
