"""The noise levels a training step draws; the loss itself is ``diffsda.kernels.edm_loss``."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.recipe import Noise


def draw_sigma(
    batch: int, frames: int, noise: Noise, *, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Draw noise levels (B, V), or (B, 1) for one a sequence, with ln sigma ~ N(P_mean, P_std^2).

    Source: EDM Table 1. Differs: the authors' code draws one level a frame (``noise.per_frame``), EDM one a
    sample; the paper does not say.
    """
    shape = (batch, frames) if noise.per_frame else (batch, 1)
    source = generator.device if generator is not None else device
    normal = torch.randn(shape, generator=generator, device=source).to(device)
    return (noise.P_mean + noise.P_std * normal).exp()
