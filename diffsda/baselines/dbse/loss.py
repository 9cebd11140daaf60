"""The terms of DBSE's loss: errors of reconstruction, divergences, likelihoods; each a scalar, a mean over clips."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffsda.baselines.gaussian import Gaussian


def squared_error(given: Tensor, wanted: Tensor, real: Tensor | None = None, missing: Tensor | None = None) -> Tensor:
    """Return the summed squared error of a clip, averaged over clips.

    Shapes: (B, V, ...) or (B, ...); real (B, V) leaves padded frames out, missing (booleans like wanted) entries.
    """
    error = (given - wanted).square()
    if missing is not None:
        error = error.masked_fill(missing, 0.0)
    if real is not None:
        error = error * real.reshape(*real.shape, *(1,) * (error.ndim - 2))
    return error.sum() / len(given)


def static_divergence(static: Gaussian) -> Tensor:
    """Return KL(q(s) || N(0, I)) averaged over clips."""
    return static.kl().mean()


def dynamic_divergence(dynamic: Gaussian, prior: Gaussian, real: Tensor | None = None) -> Tensor:
    """Return KL(q(d) || p(d)) summed over frames, averaged over clips; real (B, V) leaves padded frames out."""
    each = dynamic.kl_to(prior)  # (B, V)
    return (each if real is None else each * real).sum() / len(each)


def negative_log_likelihood(
    x: Tensor, mean: Tensor, scale: Tensor, missing: Tensor | None = None, *, count_missing: bool = False
) -> Tensor:
    """Return the negative log likelihood of x under N(mean, scale²), averaged over entries that are not missing.

    Shapes: x, mean, scale (B, T, F); missing like x, or None. ``count_missing`` divides by the number of all entries.
    Where all entries are missing there is nothing to fit and the term is 0.
    """
    kept = None if missing is None else ~missing.bool()
    if kept is not None:
        # Missing entries may hold anything, not-a-number too, and must not reach a gradient.
        x = torch.where(kept, x, 0.0)
    each = 0.5 * ((x - mean) / scale).square() + scale.log() + 0.5 * math.log(2 * math.pi)
    if kept is None:
        return each.mean()
    return (each * kept).sum() / (each.numel() if count_missing else kept.sum().clamp(min=1))
