"""The plain torch form of group_norm: differentiable, no cleverness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from diffsda.errors import InputError


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
    skip: Tensor | None = None,
    offset: Tensor | None = None,
) -> Tensor:
    """Normalise by group, modulate per sample and channel, activate, drop out; see ``diffsda.kernels.group_norm``.

    Dropout draws from torch's generator.
    """
    check(x, weight, bias, groups=groups, scale=scale, shift=shift, act=act, dropout=dropout, skip=skip, offset=offset)
    if skip is not None:
        x = torch.cat([x, skip], dim=1)
    if offset is None:
        if x.is_cuda and weight.dtype != x.dtype and not torch.is_autocast_enabled("cuda"):
            weight, bias = weight.to(x.dtype), bias.to(x.dtype)  # torch's CUDA norm takes one type only
        y = F.group_norm(x, groups, weight, bias, eps)
    else:
        # The sum is never rounded to 16 bits: that would cost x its digits where offsets are large.
        wide = torch.promote_types(x.dtype, torch.float32)
        x, kind = x.to(wide) + offset.to(wide)[:, None, None], x.dtype
        y = F.group_norm(x, groups, weight.to(wide), bias.to(wide), eps).to(kind)
    if scale is not None and shift is not None:
        # Two small (N, C) tensors against a large one: one fused pass over x.
        y = torch.addcmul(_spread(shift, y), y, _spread(scale, y))
    if act == "silu":
        # In place only where nothing upstream needs the value again.
        y = F.silu(y, inplace=not y.requires_grad)
    return F.dropout(y, dropout) if dropout else y


def check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    groups: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
    dropout: float,
    skip: Tensor | None,
    offset: Tensor | None = None,
) -> None:
    """Refuse what does not belong together.

    Raises: InputError.
    """
    if not isinstance(groups, int):
        raise InputError(f"group_norm: got groups {groups!r}, expected a whole number")
    if x.ndim != 4:
        raise InputError(f"group_norm: got x {tuple(x.shape)}, expected (N, C, H, W)")
    channels = x.shape[1] + _check_skip(x, skip)
    if groups < 1 or channels % groups:
        raise InputError(f"group_norm: got {channels} channels, expected a multiple of {groups} groups")
    _check_parameters(x, channels, weight, bias, scale, shift)
    if offset is not None:
        _check_offset(x, channels, offset)
    if act not in ("silu", "none"):
        raise InputError(f"group_norm: got act {act!r}, expected 'silu' or 'none'")
    if not 0 <= dropout < 1:
        raise InputError(f"group_norm: got dropout {dropout}, expected a probability from 0 to below 1")


def _check_skip(x: Tensor, skip: Tensor | None) -> int:
    """Return the channels of skip."""
    if skip is not None:
        if skip.ndim != 4 or skip.shape[0] != x.shape[0] or skip.shape[2:] != x.shape[2:]:
            raise InputError(
                f"group_norm: got skip {tuple(skip.shape)} for x {tuple(x.shape)}, expected the same samples and pixels"
            )
        if skip.dtype != x.dtype or skip.device != x.device:
            raise InputError(f"group_norm: got skip {skip.dtype} on {skip.device}, expected x's {x.dtype}, {x.device}")
    return 0 if skip is None else skip.shape[1]


def _check_parameters(
    x: Tensor, channels: int, weight: Tensor, bias: Tensor, scale: Tensor | None, shift: Tensor | None
) -> None:
    if weight.shape != (channels,) or bias.shape != (channels,):
        raise InputError(
            f"group_norm: got weight {tuple(weight.shape)} and bias {tuple(bias.shape)}, expected {(channels,)}"
        )
    if (scale is None) != (shift is None):
        raise InputError("group_norm: got only one of scale and shift, expected both or neither")
    if scale is not None and shift is not None:
        wanted = (x.shape[0], channels)
        if scale.shape != wanted or shift.shape != wanted:
            raise InputError(
                f"group_norm: got scale {tuple(scale.shape)} and shift {tuple(shift.shape)}, expected {tuple(wanted)}"
            )
    for name, tensor in (("weight", weight), ("bias", bias), ("scale", scale), ("shift", shift)):
        if tensor is not None and tensor.device != x.device:
            raise InputError(f"group_norm: got {name} on {tensor.device}, expected x's {x.device}")


def _check_offset(x: Tensor, channels: int, offset: Tensor) -> None:
    if offset.shape != (channels,) or not offset.is_floating_point() or offset.device != x.device:
        raise InputError(
            f"group_norm: got offset {tuple(offset.shape)} {offset.dtype} on {offset.device}, expected {(channels,)} "
            f"of a floating-point type on x's {x.device}: a constant a channel, x's first, then skip's"
        )


def _spread(per_channel: Tensor, like: Tensor) -> Tensor:
    return per_channel.to(like.dtype)[:, :, None, None]
