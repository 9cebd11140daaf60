"""Let ``auto`` use a kernel only after it agreed with its reference, once for every kind of call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

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
    # Compiling is asked first: it cannot look at the stream.
    if torch.compiler.is_compiling() or (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
        return False
    worst = max(TOLERANCE[t.dtype] for t in inputs if t is not None and t.dtype in TOLERANCE)
    try:
        error = _difference(ours, reference, inputs, gradients)
    except torch.OutOfMemoryError:
        return False  # The comparison takes more memory than the call; a smaller one may decide.
    except Exception as reason:
        if "CUDA error" in str(reason) or "[CUDA]" in str(reason):
            raise  # The device is lost; no other backend would help.
        _verdicts[operation, key] = False
        warnings.warn(f"{operation}: our kernel cannot run here, the reference is used instead: {reason}", stacklevel=3)
        return False
    if error is None:
        return False  # What is not finite tells nothing.
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
) -> float | None:
    """Return the largest relative error of the result and of every gradient; None if the reference is not finite."""
    device = next(t.device for t in inputs if t is not None)
    with (
        torch.inference_mode(False),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.autocast(device.type, enabled=False),  # the reference computes in float32
        saved_tensors_hooks(_same, _same),  # those of a checkpoint around the call would count our tensors as its own
    ):
        given = [None if t is None else t.detach().clone() for t in inputs]
        cotangent = _cotangent(ours, given) if gradients else None
        got = _values(ours, given, cotangent)
        expected = _values(reference, [None if t is None else _wide(t) for t in inputs], cotangent)
    if not all(bool(torch.isfinite(t).all()) for t in expected):
        return None
    errors = [
        (a.float() - b.float()).norm() / b.float().norm().clamp_min(1e-30) for a, b in zip(got, expected, strict=True)
    ]
    worst = torch.stack(errors).max()
    return float(torch.where(torch.isfinite(worst), worst, torch.full_like(worst, float("inf"))))


def _cotangent(ours: Callable[..., Tensor], given: list[Tensor | None]) -> Tensor:
    """Return what to differentiate with, rounded as our result is: a fixed random pattern without a direction."""
    with torch.no_grad():
        y = ours(*given)
    draw = torch.Generator(y.device).manual_seed(0)
    # A scalar's gradient is as small as its mean is long: a larger cotangent keeps it a normal number in float16.
    size = max(t.numel() for t in given if t is not None) if y.ndim == 0 else 1
    return (size * torch.randn(y.shape, generator=draw, device=y.device)).to(y.dtype)


def _same(t: Tensor) -> Tensor:
    return t


def _wide(t: Tensor) -> Tensor:
    """Return a copy, in float32 where it holds numbers with a point: what writes to its inputs writes to that."""
    return t.detach().to(torch.float32 if t.is_floating_point() else t.dtype, copy=True)


def _values(call: Callable[..., Tensor], inputs: list[Tensor | None], cotangent: Tensor | None) -> list[Tensor]:
    if cotangent is None:
        with torch.no_grad():
            return [call(*inputs)]
    with torch.enable_grad():
        leaves = [t.requires_grad_() for t in inputs if t is not None and t.is_floating_point()]
        y = call(*inputs)
        return [y.detach(), *torch.autograd.grad(y, leaves, cotangent.to(y.dtype))]
