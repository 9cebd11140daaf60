"""The plain torch form of film_layer_norm: differentiable, no cleverness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def film_layer_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "silu",
    eps: float = 1e-5,
    dropout: float = 0.0,
) -> Tensor:
    """Modulate every row, normalise it, activate, drop out.

    y = dropout(act(LayerNorm(x * scale + shift) * weight + bias))

    Shapes: x, scale, shift, y (N, W); weight, bias (W,).
    Source: the authors' vector networks. Differs from the video blocks: modulation comes before the norm.
    Raises: ValueError for an unknown activation.
    """
    if scale is not None and shift is not None:
        x = torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))
    y = F.layer_norm(x, x.shape[-1:], weight, bias, eps)
    if act == "silu":
        y = F.silu(y, inplace=not y.requires_grad)
    elif act != "none":
        raise ValueError(f"film_layer_norm: got act {act!r}, expected 'silu' or 'none'")
    return F.dropout(y, dropout) if dropout else y
