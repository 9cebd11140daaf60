"""The plain torch form of adamw, and what every form refuses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffsda.errors import InputError

Number = float | Tensor
"""A Python number, or a 0-d tensor on the weights' device that is read when the update runs."""


@torch.no_grad()
def adamw(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    *,
    lr: Number,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: Number,
    clip: float | None = None,
    averages: Sequence[Tensor] = (),
    decay: Number | None = None,
    copies: Sequence[Tensor] = (),
) -> Tensor:
    """Clip, update, average and copy, one after the other; return the gradient norm before clipping.

    The same calls on the same numbers as ``torch.nn.utils.clip_grad_norm_``, ``torch.optim.AdamW(fused=True)`` and
    ``diffsda.train.ema.Average``: bit for bit the same weights. Gradients of the weights' dtype are clipped in place.
    """
    grads, norm = clipped(params, grads, clip)
    lists = (list(params), grads, list(exp_avgs), list(exp_avg_sqs))
    if torch.compiler.is_compiling():
        # torch's fused update cannot be traced.
        _written_out(*lists, lr, betas, eps, weight_decay, step)
    elif params:
        count = step.float() if isinstance(step, Tensor) else torch.full((), float(step), device=params[0].device)
        torch._fused_adamw_(
            *lists,
            [],
            [count] * len(params),
            lr=lr.float() if isinstance(lr, Tensor) and lr.is_cuda else lr,
            beta1=betas[0],
            beta2=betas[1],
            weight_decay=weight_decay,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
    follow(params, averages, decay, copies)
    return norm


def _written_out(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    lr: Number,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: Number,
) -> None:
    """Update by the formula, list by list."""
    kind = params[0].dtype
    # In float64: little is left of 1 - 0.999 in float32.
    count = step.double() if isinstance(step, Tensor) else step
    rate = lr.double() if isinstance(lr, Tensor) else lr
    root = _in(kind, (1 - betas[1] ** count) ** 0.5)
    torch._foreach_lerp_(exp_avgs, grads, 1 - betas[0])
    torch._foreach_mul_(exp_avg_sqs, betas[1])
    torch._foreach_addcmul_(exp_avg_sqs, grads, grads, 1 - betas[1])
    torch._foreach_mul_(params, _in(kind, 1 - rate * weight_decay))
    below = torch._foreach_add(torch._foreach_div(torch._foreach_sqrt(exp_avg_sqs), root), eps)
    change = torch._foreach_mul(torch._foreach_div(exp_avgs, below), _in(kind, -rate / (1 - betas[0] ** count)))
    torch._foreach_add_(params, change)


def _in(kind: torch.dtype, number: Number) -> Number:
    return number.to(kind) if isinstance(number, Tensor) else number


def clipped(params: Sequence[Tensor], grads: Sequence[Tensor], clip: float | None) -> tuple[list[Tensor], Tensor]:
    """Return the gradients in the weights' dtype, scaled so that their norm is at most ``clip``, and the norm before.

    Source: ``torch.nn.utils.clip_grad_norm_``, with its 1e-6.
    """
    wide = [g.to(p.dtype) for p, g in zip(params, grads)]
    norm = torch.nn.utils.get_total_norm(wide)
    if clip is not None and wide:
        torch._foreach_mul_(wide, torch.clamp(clip / (norm + 1e-6), max=1.0))
    return wide, norm


def laid_out(grads: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients with their parameters' strides, as autograd makes them; every form counts on that."""
    return [
        g if g.stride() == p.stride() or strides(g) == strides(p) else torch.empty_like(p, dtype=g.dtype).copy_(g)
        for p, g in zip(params, grads)
    ]


def follow(
    params: Sequence[Tensor], averages: Sequence[Tensor], decay: Number | None, copies: Sequence[Tensor]
) -> None:
    """Move the averages towards the weights and copy the weights."""
    if averages and isinstance(decay, Tensor):
        weight = (1 - decay.double()).to(params[0].dtype)
        for average, p in zip(averages, params):
            average.lerp_(p, weight)
    if averages and isinstance(decay, float | int):
        torch._foreach_lerp_(list(averages), list(params), 1 - decay)
    if copies:
        torch._foreach_copy_(list(copies), list(params))


def check(
    params: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    states: dict[str, Sequence[Tensor] | None],
    numbers: dict[str, Number | None],
    *,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    clip: float | None,
) -> None:
    """Refuse what no form takes.

    Raises: InputError for lists that do not go together, or numbers out of range.
    """
    if not params:
        raise InputError("adamw: got no params, expected a list of tensors")
    first = params[0]
    if first.dtype not in (torch.float32, torch.float64):
        raise InputError(f"adamw: got params in {first.dtype}, expected float32 (or float64 with backend 'torch')")
    _alike("params", params, first)
    for i, p in enumerate(params):
        if not dense(p):
            raise InputError(f"adamw: got params[{i}] with strides {p.stride()}, expected a dense tensor")
    _matching("grads", grads, params)
    for name, values in states.items():
        if values is not None:
            _matching(name, values, params)
            if values and name != "copies" and values[0].dtype != first.dtype:
                raise InputError(f"adamw: got {name} in {values[0].dtype}, expected {first.dtype} like params")
    _numbers(first, states, numbers, betas, eps, weight_decay, clip)


def _matching(name: str, values: Sequence[Tensor | None], params: Sequence[Tensor]) -> None:
    """Refuse a list that is not, tensor by tensor, like the parameters."""
    if len(values) != len(params):
        raise InputError(f"adamw: got {len(values)} {name}, expected {len(params)} like params")
    held = [v for v in values if v is not None]
    if held:
        _alike(name, held, held[0])
        if held[0].dtype not in (params[0].dtype, torch.float32, torch.bfloat16, torch.float16):
            raise InputError(f"adamw: got {name} in {held[0].dtype}, expected float32, bfloat16 or float16")
    for i, (p, v) in enumerate(zip(params, values)):
        if v is None:
            if name == "grads":
                continue
            raise InputError(f"adamw: got {name}[{i}] None, expected a tensor")
        if v.shape != p.shape or v.device != p.device:
            raise InputError(
                f"adamw: got {name}[{i}] {tuple(v.shape)} on {v.device}, expected {tuple(p.shape)} on {p.device} "
                "like its parameter"
            )
        # Gradients are only read and may be copied into place.
        if name != "grads" and v.stride() != p.stride() and strides(v) != strides(p):
            raise InputError(
                f"adamw: got {name}[{i}] with strides {v.stride()}, expected {p.stride()} like its parameter"
            )


def _alike(name: str, values: Sequence[Tensor], like: Tensor) -> None:
    for i, v in enumerate(values):
        if v.dtype != like.dtype or v.device != like.device:
            raise InputError(
                f"adamw: got {name}[{i}] in {v.dtype} on {v.device}, expected {like.dtype} on {like.device}"
            )


def _numbers(
    first: Tensor,
    states: dict[str, Sequence[Tensor] | None],
    numbers: dict[str, Number | None],
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    clip: float | None,
) -> None:
    for name, value in numbers.items():
        if isinstance(value, Tensor) and (value.ndim or value.device != first.device):
            raise InputError(
                f"adamw: got {name} {tuple(value.shape)} on {value.device}, expected a number or a 0-d tensor on "
                f"{first.device}"
            )
    if (states.get("averages") is None) != (numbers["decay"] is None):
        raise InputError("adamw: got one of averages and decay, expected both or neither")
    step, lr, decay = numbers["step"], numbers["lr"], numbers["decay"]
    if not isinstance(step, Tensor) and (step is None or step < 1):
        raise InputError(f"adamw: got step {step}, expected the number of this update, from 1")
    if not isinstance(lr, Tensor) and (lr is None or not lr >= 0):
        raise InputError(f"adamw: got lr {lr}, expected a number >= 0")
    if decay is not None and not isinstance(decay, Tensor) and not 0 <= decay <= 1:
        raise InputError(f"adamw: got decay {decay}, expected a number from 0 to 1")
    if not all(0 <= b < 1 for b in betas):
        raise InputError(f"adamw: got betas {betas}, expected two numbers from 0 to below 1")
    if not eps >= 0 or not weight_decay >= 0:
        raise InputError(f"adamw: got eps {eps} and weight_decay {weight_decay}, expected numbers >= 0")
    if clip is not None and not clip >= 0:
        raise InputError(f"adamw: got clip {clip}, expected None or a number >= 0")


def strides(t: Tensor) -> tuple[int, ...]:
    """Return the strides that matter: those of dimensions longer than one."""
    return tuple(stride for size, stride in zip(t.shape, t.stride()) if size > 1)


def dense(t: Tensor) -> bool:
    """Whether the elements lie one after the other in memory, in any order of dimensions."""
    if t.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((stride, size) for size, stride in zip(t.shape, t.stride()) if size != 1):
        if stride != expected:
            return False
        expected *= size
    return True
