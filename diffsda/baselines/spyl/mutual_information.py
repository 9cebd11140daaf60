"""How much the static and the dynamic code of a batch of clips say about each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffsda.baselines.gaussian import Gaussian


def mutual_information(
    s: Tensor,
    d: Tensor,
    static: Gaussian,
    dynamic: Gaussian,
    *,
    real: Tensor | None = None,
    items: int = 1,
    as_published: bool = False,
) -> Tensor:
    """Estimate the mutual information of s and d from the posteriors of one batch, in nats, at least 0.

    I = mean over clips i and frames v of log q(s_i, d_iv) - log q(s_i) - log q(d_iv), each q a mixture of the
    batch's posteriors, weighed 1 / (B * items).

    Shapes: samples s (B, S) and d (B, V, D), drawn from static and dynamic, posteriors of those shapes; real (B, V),
    true where a frame is not padding -> scalar.
    Source: SPYL's training loss; the estimator is that of beta-TCVAE (minibatch-weighted sampling).
    Differs: ``as_published`` takes log variances for log standard deviations, weighs by the number of training
    clips ``items`` (which adds log items to the value and keeps the bound at 0 from ever acting), and bounds every
    frame's term from below by 0 instead of the mean. Otherwise ``items`` should stay 1.
    """
    scale = 1.0 if as_published else 0.5
    joint_s = _log_densities(s[:, None], static.mean[None], scale * static.logvar[None])  # (B, B): clip, posterior
    joint_d = _log_densities(
        d.transpose(0, 1)[:, :, None],
        dynamic.mean.transpose(0, 1)[:, None],
        scale * dynamic.logvar.transpose(0, 1)[:, None],
    )  # (V, B, B)
    both = torch.logsumexp(joint_s + joint_d, dim=-1)
    each = both - torch.logsumexp(joint_s, dim=-1) - torch.logsumexp(joint_d, dim=-1)
    each = each + math.log(len(s) * items)  # (V, B)
    if as_published:
        each = each.clamp(min=0)
    if real is None:
        mean = each.mean()
    else:
        mean = (each * real.T).sum() / real.sum()
    return mean.clamp(min=0)


def _log_densities(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return the log density of x under Gaussians, summed over the last axis."""
    unit = (x - mean) * torch.exp(-log_std)
    return (-0.5 * (unit**2 + math.log(2 * math.pi)) - log_std).sum(-1)
