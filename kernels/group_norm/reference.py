"""The plain torch form of group_norm: differentiable, no cleverness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def group_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    groups: int,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "silu",
    eps: float = 1e-5,
    dropout: float = 0.0,
) -> Tensor:
    """Normalise by group, modulate per sample and channel, activate, drop out.

    y = dropout(act((GroupNorm(x) * weight + bias) * scale + shift))

    Shapes: x, y (N, C, H, W); scale, shift (N, C); weight, bias (C,).
    Precision: statistics in float32 (or x's dtype if wider), y in x's dtype.
    Source: DiffSDA Eq. 9. Differs: the noise and factor modulations arrive already folded into one
    scale and shift, which is the same affine map.
    Raises: ValueError if C is not a multiple of groups or a modulation is not (N, C).
    """
    channels = x.shape[1]
    if channels % groups:
        raise ValueError(f"group_norm: got {channels} channels, expected a multiple of {groups} groups")
    y = F.group_norm(x, groups, weight, bias, eps)
    if scale is not None and shift is not None:
        if scale.shape != x.shape[:2] or shift.shape != x.shape[:2]:
            raise ValueError(
                f"group_norm: got scale {tuple(scale.shape)} and shift {tuple(shift.shape)}, "
                f"expected {tuple(x.shape[:2])}"
            )
        # Two small (N, C) tensors against a large one: one fused pass over x.
        y = torch.addcmul(_spread(shift, y), y, _spread(scale, y))
    if act == "silu":
        # In place only where nothing upstream needs the value again.
        y = F.silu(y, inplace=not y.requires_grad)
    elif act != "none":
        raise ValueError(f"group_norm: got act {act!r}, expected 'silu' or 'none'")
    return F.dropout(y, dropout) if dropout else y


def _spread(per_channel: Tensor, like: Tensor) -> Tensor:
    return per_channel.to(like.dtype)[:, :, None, None]
