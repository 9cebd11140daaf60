"""film_layer_norm behind the switch: the public function and the registered operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.kernels import first_use
from diffsda.kernels.arguments import dropout_probability, dropout_state, tensors
from diffsda.kernels.backend import resolve
from diffsda.kernels.dropout import BITS, draw_state, threshold
from diffsda.kernels.film_layer_norm import launches, reference
from diffsda.kernels.launch import FLOATS, require


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
    state: Tensor | None = None,
    site: int = 0,
) -> Tensor:
    """Modulate every row, normalise it, activate, drop out.

    y = dropout(act(LayerNorm(x * scale + shift) * weight + bias))

    Shapes: x, scale, shift, y (N, W), where scale and shift may be columns of a wider tensor; weight, bias (W,);
    ``state`` int64 (2,), the (seed, offset) of ``diffsda.kernels.dropout``, and ``site`` the number of this call
    in it, both only read by our kernel (left out, a state is drawn from torch's generator; the reference always
    uses that).
    Precision: our kernel computes in float32 whatever the types, y is in x's dtype, under autocast too.
    Source: the authors' vector networks. Differs from the video blocks: modulation comes before the norm.
    Raises: InputError (a ValueError) for shapes that do not belong together, an unknown activation, a dropout
    that is no probability, or what the chosen backend cannot take.
    """
    tensors("film_layer_norm", x=x, weight=weight, bias=bias)
    which = resolve("film_layer_norm", x.device)

    def plain(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        return reference.film_layer_norm(x, weight, bias, scale=scale, shift=shift, act=act, eps=eps)

    def ours(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        return _fused(x, weight, bias, scale, shift, None, act, eps, 0.0, site)

    if which == "compare":
        # Both draw dropout differently, so that the comparison leaves it out.
        reference.check(x, weight, bias, scale, shift, act, dropout)
        kind = None if scale is None else scale.dtype
        key = (x.dtype, weight.dtype, kind, x.shape[1], x.is_contiguous(), act)
        inputs = (x, weight, bias, scale, shift)
        good = _takes(inputs, dropout) and first_use.agrees("film_layer_norm", key, ours, plain, inputs)
        which = "triton" if good else "torch"
    if which == "torch":
        return reference.film_layer_norm(x, weight, bias, scale=scale, shift=shift, act=act, eps=eps, dropout=dropout)
    return _fused(x, weight, bias, scale, shift, state, act, eps, dropout, site)


def _takes(inputs: tuple[Tensor | None, ...], dropout: float) -> bool:
    """Say whether our kernel takes such a call, x first; on ``auto`` the reference gets the rest."""
    given = [t for t in inputs if t is not None]
    rows, width = given[0].shape
    typed = all(t.dtype in FLOATS for t in given)
    return typed and rows > 0 and width <= launches.WIDEST and threshold(dropout) < 2**BITS


def _fused(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    state: Tensor | None,
    act: str,
    eps: float,
    dropout: float,
    site: int,
) -> Tensor:
    """Run our kernel, or say why it cannot."""
    reference.check(x, weight, bias, scale, shift, act, dropout)
    if not torch.compiler.is_compiling():  # The operation asks again when it runs.
        for tensor in (x, weight, bias, scale, shift):
            if tensor is not None:
                require("film_layer_norm", tensor)
    if x.shape[1] > launches.WIDEST:
        raise InputError(
            f"film_layer_norm: got rows of {x.shape[1]}, expected at most {launches.WIDEST} for backend 'triton'; "
            "backend('torch') takes the rest"
        )
    dropout_probability("film_layer_norm", dropout)
    if threshold(dropout) == 0:
        dropout, state = 0.0, None
    elif state is None:
        state = draw_state(x.device)
    dropout_state("film_layer_norm", state, site, x.device)
    y: Tensor = torch.ops.diffsda.film_layer_norm(
        x, weight, bias, scale, shift, state, act == "silu", eps, dropout, site
    )[0]
    return y


@torch.library.custom_op("diffsda::film_layer_norm", mutates_args=())
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    state: Tensor | None,
    silu: bool,
    eps: float,
    dropout: float,
    site: int,
) -> tuple[Tensor, Tensor, Tensor]:
    require("film_layer_norm", x)
    return launches.forward(x, weight, bias, scale, shift, state, silu, eps, dropout, site)


@_forward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    state: Tensor | None,
    silu: bool,
    eps: float,
    dropout: float,
    site: int,
) -> tuple[Tensor, Tensor, Tensor]:
    drawn = x.new_empty((2 if threshold(dropout) else 0,), dtype=torch.int64)
    return x.new_empty(x.shape), x.new_empty((3, x.shape[0]), dtype=torch.float32), drawn


@torch.library.custom_op("diffsda::film_layer_norm_backward", mutates_args=())
def _backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    stats: Tensor,
    drawn: Tensor,
    silu: bool,
    dropout: float,
    site: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return launches.backward(dy, x, weight, bias, scale, shift, stats, drawn, silu, dropout, site)


@_backward.register_fake
def _(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    stats: Tensor,
    drawn: Tensor,
    silu: bool,
    dropout: float,
    site: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    dscale, dshift = (x.new_empty((0,)) if t is None else t.new_empty(t.shape) for t in (scale, shift))
    return x.new_empty(x.shape), weight.new_empty(weight.shape), bias.new_empty(bias.shape), dscale, dshift


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, weight, bias, scale, shift, _, ctx.silu, _, ctx.dropout, ctx.site = inputs
    ctx.save_for_backward(x, weight, bias, scale, shift, output[1], output[2])
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, dy: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 10
    x, weight, bias, scale, shift, stats, drawn = ctx.saved_tensors
    dx, dweight, dbias, dscale, dshift = torch.ops.diffsda.film_layer_norm_backward(
        dy, x, weight, bias, scale, shift, stats, drawn, ctx.silu, ctx.dropout, ctx.site
    )
    modulation = (None, None) if scale is None else (dscale, dshift)
    return (dx, dweight, dbias, *modulation, *(None,) * 5)


_forward.register_autograd(_gradients, setup_context=_save)
