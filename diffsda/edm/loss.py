"""The one loss: weighted squared error of the denoised clip."""

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


def weighted_error(
    denoised: Tensor,
    clean: Tensor,
    weight: Tensor,
    *,
    mask: Tensor | None = None,
    real: Tensor | None = None,
    count: float | Tensor | None = None,
) -> Tensor:
    """Return the mean over elements of weight * (denoised - clean)^2.

    Shapes: denoised, clean (N, ...) rows; weight (N,); mask like clean, 1 = missing; real (N,) marks rows that
    are not padding; scalar result.
    Missing values count as zero error but stay in the mean (the authors' code); padded frames are left out of
    it altogether. ``count`` overrides the number of elements the sum is divided by, so that parts of a batch
    add up to the whole.
    """
    extra = (1,) * (clean.ndim - 1)
    kind = torch.promote_types(denoised.dtype, torch.float32)  # at least float32; float64 stays
    error = weight.reshape(-1, *extra) * (denoised.to(kind) - clean.to(kind)) ** 2
    if mask is not None:
        error = torch.where(mask == 1, torch.zeros_like(error), error)
    if real is not None:
        error = torch.where(real.reshape(-1, *extra), error, torch.zeros_like(error))
        count = real.sum() * clean[0].numel() if count is None else count
    return error.mean() if count is None else error.sum() / count
