"""The plain torch form of film_layer_norm: differentiable, no cleverness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from diffsda.errors import InputError

ACTS = ("silu", "none")


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
    Raises: InputError (a ValueError) for shapes that do not belong together, an unknown activation, or a dropout
    that is no probability.
    """
    check(x, weight, bias, scale, shift, act, dropout)
    if scale is not None and shift is not None:
        x = torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))
    y = F.layer_norm(x, x.shape[-1:], weight, bias, eps)
    if act == "silu":
        y = F.silu(y, inplace=not y.requires_grad)
    return F.dropout(y, dropout) if dropout else y


def check(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, shift: Tensor | None, act: str, dropout: float
) -> None:
    """Refuse arguments that do not belong together.

    Raises: InputError.
    """
    if x.ndim != 2 or x.shape[1] == 0:
        raise InputError(f"film_layer_norm: got x {tuple(x.shape)}, expected rows (N, W)")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor.shape != x.shape[1:]:
            raise InputError(f"film_layer_norm: got {name} {tuple(tensor.shape)}, expected {tuple(x.shape[1:])}")
    if (scale is None) != (shift is None):
        missing = "scale" if scale is None else "shift"
        raise InputError(f"film_layer_norm: got no {missing}, expected scale and shift together or neither")
    for name, modulation in (("scale", scale), ("shift", shift)):
        if modulation is not None and modulation.shape != x.shape:
            raise InputError(f"film_layer_norm: got {name} {tuple(modulation.shape)}, expected {tuple(x.shape)}")
    if any(t is not None and t.device != x.device for t in (weight, bias, scale, shift)):
        devices = {str(t.device) for t in (x, weight, bias, scale, shift) if t is not None}
        raise InputError(f"film_layer_norm: got tensors on {', '.join(sorted(devices))}, expected one device")
    if act not in ACTS:
        raise InputError(f"film_layer_norm: got act {act!r}, expected 'silu' or 'none'")
    if not 0 <= dropout <= 1:
        raise InputError(f"film_layer_norm: got dropout {dropout}, expected a probability")
