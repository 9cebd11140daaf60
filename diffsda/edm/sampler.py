"""Heun's method over a planned trajectory: one loop for sampling and for stochastic encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor

from diffsda.edm.schedule import Plan, Step
from diffsda.kernels.backend import resolve
from diffsda.kernels.heun import heun_correct, heun_predict


class Evaluate(Protocol):
    """Anything that evaluates the network: eager, compiled, a graph or an engine."""

    def __call__(self, scaled: Tensor, level: int) -> Tensor:
        """Return F for c_in * x at the plan's noise level of that index, shaped like x; ``scaled`` is not kept."""
        ...


def heun(
    evaluate: Evaluate,
    x: Tensor,
    plan: Plan,
    *,
    fresh: Callable[[], Tensor] | None = None,
    progress: Callable[[Iterable[Step]], Iterable[Step]] = iter,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Follow the plan from x and return where it ends.

    With gradients on, and with plain torch on the CPU, every step makes new tensors and can be differentiated;
    otherwise the steps work in two buffers, and with our kernels nothing but the network (and fresh noise) allocates.
    Shapes: x any, with evaluate returning the same. ``fresh`` draws unit noise like x, needed only for churn.
    Precision: the state stays in x's dtype (in float32 in the buffers, if x is narrower); the network gets
    ``dtype``, or x's. Coefficients are float64 on the host. Nothing in the loop waits for the device.
    Source: DiffSDA Algorithms 1 and 2; Karras et al. 2022, Algorithm 2.
    Raises: ValueError if the plan churns and no noise source is given; BackendError if the kernels were asked for
    and cannot run.
    """
    dtype = dtype or x.dtype
    if torch.is_grad_enabled() or (x.device.type == "cpu" and resolve("heun", x.device) == "torch"):
        return _functional(evaluate, x, plan, fresh, progress, dtype)
    return _buffered(evaluate, x, plan, fresh, progress, dtype)


def _functional(
    evaluate: Evaluate,
    x: Tensor,
    plan: Plan,
    fresh: Callable[[], Tensor] | None,
    progress: Callable[[Iterable[Step]], Iterable[Step]],
    dtype: torch.dtype,
) -> Tensor:
    for step in progress(plan.steps):
        if step.churn:
            x = x + step.churn * _source(fresh)()
        f = evaluate((x * step.c_in).to(dtype), step.level)
        if step.correction is None:
            x = torch.add(step.a * x, f, alpha=step.b)
            continue
        level, c_in, keep, first, second = step.correction
        scaled = torch.add((step.a * c_in) * x, f, alpha=step.b * c_in)
        f2 = evaluate(scaled.to(dtype), level)
        x = torch.add(torch.add(keep * x, f, alpha=first), f2, alpha=second)
    return x


def _buffered(
    evaluate: Evaluate,
    start: Tensor,
    plan: Plan,
    fresh: Callable[[], Tensor] | None,
    progress: Callable[[Iterable[Step]], Iterable[Step]],
    dtype: torch.dtype,
) -> Tensor:
    """Follow the plan in a state and a network input that stay where they are."""
    x = start.to(torch.promote_types(start.dtype, torch.float32), copy=True)
    scaled = torch.empty_like(x, dtype=dtype)
    laid_out = ready = False  # ``ready``: the last step has already written this one's input.
    for step, after in zip(progress(plan.steps), [*plan.steps[1:], None]):
        if step.churn:
            x.add_(_source(fresh)(), alpha=step.churn)
        if not ready:
            torch.mul(x, step.c_in, out=scaled)
        f = evaluate(scaled, step.level)
        if not laid_out:
            # The network decides on the layout, once: then every pass is one run of memory.
            x, scaled = _like(f, x), _like(f, scaled)
            laid_out = True
        f = _own(f, scaled)
        # A step that churns makes its input itself, from the noisy state.
        ready = after is not None and not after.churn
        out, c_next = (scaled, after.c_in) if after is not None and ready else (None, 0.0)
        if step.correction is None:
            heun_correct(x, f, None, out, keep=step.a, first=step.b, second=0.0, c_in=c_next)
            continue
        level, c_in, keep, first, second = step.correction
        heun_predict(x, f, scaled, a=step.a * c_in, b=step.b * c_in)
        f2 = _own(evaluate(scaled, level), scaled)
        heun_correct(x, f, f2, out, keep=keep, first=first, second=second, c_in=c_next)
    return x.to(start.dtype)


def _like(f: Tensor, t: Tensor) -> Tensor:
    """Return t in f's layout, itself where it is already."""
    laid_out = torch.empty_like(f, dtype=t.dtype)
    return t if laid_out.stride() == t.stride() else laid_out.copy_(t)


def _own(f: Tensor, scaled: Tensor) -> Tensor:
    """Return f in the buffers' layout and in memory of its own: a network may hand its input back."""
    if f.stride() == scaled.stride() and f.untyped_storage().data_ptr() != scaled.untyped_storage().data_ptr():
        return f
    return torch.empty_like(scaled, dtype=f.dtype).copy_(f)


def _source(fresh: Callable[[], Tensor] | None) -> Callable[[], Tensor]:
    if fresh is None:
        raise ValueError("heun: the plan adds noise (S_churn > 0), expected a source of it in `fresh`")
    return fresh
