"""group_norm: the public function, and our kernel as a torch operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsda.kernels import first_use
from diffsda.kernels.arguments import dropout_probability, dropout_state, tensors
from diffsda.kernels.backend import chosen, resolve
from diffsda.kernels.dropout import draw_state, threshold
from diffsda.kernels.group_norm import launches, reference
from diffsda.kernels.launch import BackendError, require, require_gluon


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
    state: Tensor | None = None,
    site: int = 0,
) -> Tensor:
    """Normalise by group, modulate per sample and channel, activate, drop out.

    y = dropout(act((GroupNorm(x + offset) * weight + bias) * scale + shift))

    Shapes: x, y (N, C, H, W), channels_last preferred; scale, shift (N, C); weight, bias, offset (C,). With ``skip``
    (N, C', H, W) the operation is that on both side by side (x's channels first), without joining them in memory.
    ``offset`` is a constant a channel, such as the bias of the convolution before, added in float32 to what is read:
    a pass over x less.
    ``state`` (seed, offset) and ``site`` say which elements dropout drops (``diffsda.kernels.dropout``); without
    a state one is drawn from torch's generator. The torch backend always draws from there. Dropout is applied
    whenever it is above 0: there is no training flag.
    Precision: statistics and modulation in float32 (or x's dtype if wider), y in x's dtype, also under autocast.
    Cost: 1 read + 1 write of x where a slab of channels stays on chip, else 2 reads (the second from L2) + 1.
    Derivatives: of every tensor once; second and forward-mode ones, and any with ``offset``, only with
    backend('torch'), which ``auto`` then takes.
    Source: DiffSDA Eq. 9. Differs: the noise and factor modulations arrive already folded into one scale and
    shift, which is the same affine map.
    Raises: InputError if C is not a multiple of groups, a modulation is not (N, C), or a type or size is beyond
    the kernel asked for; BackendError where that cannot run, or has no gradient that is wanted.
    """
    tensors("group_norm", x=x, weight=weight, bias=bias, **({} if offset is None else {"offset": offset}))
    which = resolve("group_norm", x.device)
    given: dict[str, Any] = {"groups": groups, "scale": scale, "shift": shift, "act": act, "dropout": dropout}
    given |= {"skip": skip, "offset": offset}
    if which != "torch":
        reference.check(x, weight, bias, **given)
        if offset is not None and _differentiable(x, weight, bias, scale, shift, skip, offset):
            if chosen("group_norm") != "auto":
                raise _no_gradient(which)
            which = "torch"
    if which == "compare":
        which = "triton" if _agrees(x, weight, bias, groups, scale, shift, act, eps, skip, offset) else "torch"
    if which == "torch":
        return reference.group_norm(x, weight, bias, eps=eps, **given)
    shared = which == "gluon"
    (require_gluon if shared else require)("group_norm", x)
    dropout_probability("group_norm", dropout)
    dropout_state("group_norm", state, site, x.device)
    launches.check_range(x, weight.shape[0], groups)
    if threshold(dropout) == 0:
        dropout, state = 0.0, None
    elif state is None:
        state = draw_state(x.device)
    return _forward(x, weight, bias, groups, scale, shift, act, eps, dropout, skip, state, site, shared, offset)[0]


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
    offset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return launches.forward(x, weight, bias, groups, scale, shift, act, eps, dropout, skip, state, site, shared, offset)


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
    offset: Tensor | None = None,
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
    x, weight, bias, ctx.groups, scale, shift, ctx.act, _, ctx.dropout, skip, _, ctx.site, _, offset = inputs
    if offset is not None:
        raise _no_gradient("triton")
    _, mean, rstd, used = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, bias, scale, shift, skip, used, mean, rstd)


def _differentiate(ctx: Any, dy: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 14
    x, weight, bias, scale, shift, skip, used, mean, rstd = ctx.saved_tensors
    dx, dskip, dweight, dbias, dscale, dshift = _backward(
        dy, x, weight, bias, ctx.groups, scale, shift, ctx.act, ctx.dropout, skip, used, ctx.site, mean, rstd
    )
    modulation = (None, None) if scale is None else (dscale, dshift)
    dskip = None if skip is None else dskip
    return dx, dweight, dbias, None, *modulation, None, None, None, dskip, None, None, None, None


_forward.register_autograd(_differentiate, setup_context=_save)


def _differentiable(*inputs: Tensor | None) -> bool:
    """Whether a gradient may be asked for."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)


def _no_gradient(which: str) -> BackendError:
    return BackendError(
        f"group_norm: got offset and tensors that require gradients, backend {which!r} has offset in inference only; "
        "use torch.no_grad(), add offset to x before, or use backend('torch')"
    )


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
    offset: Tensor | None,
) -> bool:
    """Compare ours with the reference on this call's own tensors."""
    if x.dtype not in first_use.TOLERANCE:
        return False

    def reduced(x: Tensor, weight: Tensor, bias: Tensor, *rest: Tensor | None) -> Tensor:
        scale, shift, skip, offset = rest
        return _forward(x, weight, bias, groups, scale, shift, act, eps, 0.0, skip, None, 0, False, offset)[0]

    def plain(x: Tensor, weight: Tensor, bias: Tensor, *rest: Tensor | None) -> Tensor:
        scale, shift, skip, offset = rest
        return reference.group_norm(
            x, weight, bias, groups=groups, scale=scale, shift=shift, act=act, eps=eps, skip=skip, offset=offset
        )

    second = 0 if skip is None else skip.shape[1]
    # The kernel depends on how many samples there are to split.
    few = launches.is_split(x, weight.shape[0], groups)
    key = (x.device, x.dtype, weight.dtype, groups, *x.shape[1:], second, launches.is_last(x), act, scale is None, few)
    inputs = [x, weight, bias, scale, shift, skip, offset]
    plus = () if offset is None else ("offset", offset.dtype)
    return first_use.agrees("group_norm", (*key, *plus), reduced, plain, inputs, gradients=offset is None)
