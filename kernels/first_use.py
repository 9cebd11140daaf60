"""Let ``auto`` use a kernel only after it agreed with its reference, once for every kind of call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Largest relative error, in the Euclidean norm, against the reference in float32."""

_verdicts: dict[Hashable, bool] = {}


def agrees(
    operation: str,
    key: Hashable,
    ours: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    *,
    gradients: bool = True,
) -> bool:
    """Return whether ``ours`` computes what ``reference`` does on these inputs, values and gradients.

    Both are called with ``inputs``; the reference gets them in float32. The verdict on a key is kept, and a
    disagreement is warned of once. While a graph is captured or compiled nothing can be compared: then the answer
    is no, unless there is a verdict already.
    """
    verdict = _verdicts.get((operation, key))
    if verdict is not None:
        return verdict
    capturing = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
    if torch.compiler.is_compiling() or capturing:
        return False
    error = _difference(ours, reference, inputs, gradients)
    worst = max(TOLERANCE[t.dtype] for t in inputs if t is not None and t.dtype in TOLERANCE)
    good = error <= worst
    _verdicts[operation, key] = good
    if not good:
        warnings.warn(
            f"{operation}: our kernel differs from its reference by {error:.1e} (allowed {worst:.1e}) for {key}; "
            "the reference is used instead",
            stacklevel=3,
        )
    return good


def verdicts() -> dict[Hashable, bool]:
    """Return what was compared so far and how it came out."""
    return dict(_verdicts)


def _difference(
    ours: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    gradients: bool,
) -> float:
    """Return the largest relative error of the result and of every gradient."""
    with torch.random.fork_rng(devices=[t.device for t in inputs if t is not None and t.is_cuda][:1]):
        got = _values(ours, [None if t is None else t.detach().clone() for t in inputs], gradients)
        wide = [None if t is None else _wide(t) for t in inputs]
        expected = _values(reference, wide, gradients)
    errors = [
        (a.float() - b.float()).norm() / b.float().norm().clamp_min(1e-30) for a, b in zip(got, expected, strict=True)
    ]
    worst = torch.stack(errors).max()
    return float(torch.where(torch.isfinite(worst), worst, torch.full_like(worst, float("inf"))))


def _wide(t: Tensor) -> Tensor:
    """Return a copy, in float32 where it holds numbers with a point: what writes to its inputs writes to that."""
    return t.detach().to(torch.float32 if t.is_floating_point() else t.dtype, copy=True)


def _values(call: Callable[..., Tensor], inputs: list[Tensor | None], gradients: bool) -> list[Tensor]:
    if not gradients:
        with torch.no_grad():
            return [call(*inputs)]
    with torch.enable_grad():
        leaves = [t.requires_grad_() for t in inputs if t is not None and t.is_floating_point()]
        y = call(*inputs)
        # The same cotangent for both: a fixed pattern without a preferred direction.
        cotangent = torch.linspace(-1, 1, y.numel(), device=y.device).sin().reshape(y.shape).to(y.dtype)
        return [y.detach(), *torch.autograd.grad(y, leaves, cotangent)]
