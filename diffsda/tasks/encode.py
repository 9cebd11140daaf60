"""Encode clips to factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from diffsda.disentangler import Disentangler
from diffsda.factors import Factors
from diffsda.tasks.batches import lengths_of, slices

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


@torch.no_grad()
def encode(model: Disentangler, clips: Clips, *, batch: int = 64) -> Factors:
    """Take clips apart; whitened clips in, factors on the CPU out.

    Shapes: clips.x (N, V, ...) -> static (N, S) or (N, V, S), dynamic (N, V, D).
    """
    with model.evaluating():
        parts = [model.encode(clips.x[r], lengths_of(clips, r)).to("cpu") for r in slices(len(clips), batch)]
    return Factors(torch.cat([f.static for f in parts]), torch.cat([f.dynamic for f in parts]))
