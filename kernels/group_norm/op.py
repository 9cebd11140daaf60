"""group_norm: the public function, and our kernel as a torch operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsda.kernels import first_use
from diffsda.kernels.arguments import dropout_probability, dropout_state, tensors
from diffsda.kernels.backend import resolve
from diffsda.kernels.dropout import draw_state, threshold
from diffsda.kernels.group_norm import launches, reference
from diffsda.kernels.launch import require, require_gluon


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
    state: Tensor | None = None,
    site: int = 0,
) -> Tensor:
    """Normalise by group, modulate per sample and channel, activate, drop out.

    y = dropout(act((GroupNorm(x) * weight + bias) * scale + shift))

    Shapes: x, y (N, C, H, W), channels_last preferred; scale, shift (N, C); weight, bias (C,). With ``skip``
    (N, C', H, W) the operation is that on both side by side (x's channels first), without joining them in memory.
    ``state`` (seed, offset) and ``site`` say which elements dropout drops (``diffsda.kernels.dropout``); without
    a state one is drawn from torch's generator. The torch backend always draws from there. Dropout is applied
    whenever it is above 0: there is no training flag.
    Precision: statistics and modulation in float32 (or x's dtype if wider), y in x's dtype, also under autocast.
    Cost: 1 read + 1 write of x where a slab of channels stays on chip, else 2 reads (the second from L2) + 1.
    Derivatives: of every tensor once; second and forward-mode ones only with backend('torch').
    Source: DiffSDA Eq. 9. Differs: the noise and factor modulations arrive already folded into one scale and
    shift, which is the same affine map.
    Raises: InputError if C is not a multiple of groups, a modulation is not (N, C), or a type or size is beyond
    the kernel asked for; BackendError where that cannot run.
    """
    tensors("group_norm", x=x, weight=weight, bias=bias)
    which = resolve("group_norm", x.device)
    if which != "torch":
        reference.check(x, weight, bias, groups=groups, scale=scale, shift=shift, act=act, dropout=dropout, skip=skip)
    if which == "compare":
        which = "triton" if _agrees(x, weight, bias, groups, scale, shift, act, eps, skip) else "torch"
    if which == "torch":
        return reference.group_norm(
            x, weight, bias, groups=groups, scale=scale, shift=shift, act=act, eps=eps, dropout=dropout, skip=skip
        )
    shared = which == "gluon"
    (require_gluon if shared else require)("group_norm", x)
    dropout_probability("group_norm", dropout)
    dropout_state("group_norm", state, site, x.device)
    launches.check_range(x, weight.shape[0], groups)
    if threshold(dropout) == 0:
        dropout, state = 0.0, None
    elif state is None:
        state = draw_state(x.device)
    return _forward(x, weight, bias, groups, scale, shift, act, eps, dropout, skip, state, site, shared)[0]


@torch.library.custom_op("diffsda::group_norm", mutates_args=())
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
    eps: float,
    dropout: float,
    skip: Tensor | None,
    state: Tensor | None,
    site: int,
    shared: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return launches.forward(x, weight, bias, groups, scale, shift, act, eps, dropout, skip, state, site, shared)


@_forward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
    eps: float,
    dropout: float,
    skip: Tensor | None,
    state: Tensor | None,
    site: int,
    shared: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    statistics = x.new_empty((x.shape[0], groups), dtype=torch.float32)
    y = launches.empty(x, weight.shape[0], launches.is_last(x))
    return y, statistics, torch.empty_like(statistics), launches.empty_used(dropout, x.device)


@torch.library.custom_op("diffsda::group_norm_backward", mutates_args=())
def _backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
    dropout: float,
    skip: Tensor | None,
    state: Tensor,
    site: int,
    mean: Tensor,
    rstd: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return launches.backward(dy, x, weight, bias, groups, scale, shift, act, dropout, skip, state, site, mean, rstd)


@_backward.register_fake
def _(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
    dropout: float,
    skip: Tensor | None,
    state: Tensor,
    site: int,
    mean: Tensor,
    rstd: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return launches.empty_gradients(x, weight, bias, scale, shift, skip)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, bias, ctx.groups, scale, shift, ctx.act, _, ctx.dropout, skip, _, ctx.site, _ = inputs
    _, mean, rstd, used = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, bias, scale, shift, skip, used, mean, rstd)


def _differentiate(ctx: Any, dy: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 13
    x, weight, bias, scale, shift, skip, used, mean, rstd = ctx.saved_tensors
    dx, dskip, dweight, dbias, dscale, dshift = _backward(
        dy, x, weight, bias, ctx.groups, scale, shift, ctx.act, ctx.dropout, skip, used, ctx.site, mean, rstd
    )
    modulation = (None, None) if scale is None else (dscale, dshift)
    return dx, dweight, dbias, None, *modulation, None, None, None, None if skip is None else dskip, None, None, None


_forward.register_autograd(_differentiate, setup_context=_save)


def _agrees(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
    eps: float,
    skip: Tensor | None,
) -> bool:
    """Compare ours with the reference on this call's own tensors."""
    if x.dtype not in first_use.TOLERANCE:
        return False

    def reduced(x: Tensor, weight: Tensor, bias: Tensor, *rest: Tensor | None) -> Tensor:
        scale, shift, skip = rest
        return _forward(x, weight, bias, groups, scale, shift, act, eps, 0.0, skip, None, 0, False)[0]

    def plain(x: Tensor, weight: Tensor, bias: Tensor, *rest: Tensor | None) -> Tensor:
        scale, shift, skip = rest
        return reference.group_norm(
            x, weight, bias, groups=groups, scale=scale, shift=shift, act=act, eps=eps, skip=skip
        )

    second = 0 if skip is None else skip.shape[1]
    # The kernel depends on how many samples there are to split.
    few = launches.is_split(x, weight.shape[0], groups)
    key = (x.device, x.dtype, weight.dtype, groups, *x.shape[1:], second, launches.is_last(x), act, scale is None, few)
    return first_use.agrees("group_norm", key, reduced, plain, [x, weight, bias, scale, shift, skip])
