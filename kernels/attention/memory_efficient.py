"""xformers' memory_efficient_attention as a backend of attention: imported when asked for, CUDA only."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffsda.errors import MissingPackage
from diffsda.kernels.launch import BackendError


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with a single head through xformers.

    Shapes: q, k, v, result (N, L, C). xformers wants heads, (N, L, 1, C), and contiguous channels: tensors along
    their pixels (NCHW) are copied.
    Raises: MissingPackage without xformers; BackendError for CPU tensors and for what none of its operators takes.
    """
    ops = package(q)
    try:
        return _call(ops, q, k, v)
    except NotImplementedError as error:
        raise _refusal(q, error) from None


def operators(q: Tensor, k: Tensor, v: Tensor, *, gradients: bool = False) -> tuple[str, ...]:
    """Return the names of the operators xformers would run: the forward one, then the backward one if asked for.

    On Hopper these are torch's own kernels (names ending in ``-pt``): wide heads go to the CUTLASS ones.
    Raises: as ``attention``.
    """
    ops = package(q)
    dispatch = ops.fmha.dispatch
    inputs = ops.fmha.Inputs(*_heads(q, k, v), scale=q.shape[2] ** -0.5)
    try:
        found = [dispatch._dispatch_fw(inputs, gradients)]
        if gradients:
            found.append(dispatch._dispatch_bw(inputs, None))
    except NotImplementedError as error:
        raise _refusal(q, error) from None
    return tuple(str(operator.NAME) for operator in found)


def _call(ops: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    y: Tensor = ops.memory_efficient_attention(*_heads(q, k, v), scale=q.shape[2] ** -0.5)
    return y[:, :, 0]


def _heads(*tensors: Tensor) -> list[Tensor]:
    """Return the tensors as (N, L, 1, C), channels contiguous."""
    return [(t if t.stride(2) == 1 else t.contiguous())[:, :, None] for t in tensors]


def package(q: Tensor) -> Any:
    """Return xformers.ops, or say why tensors like q cannot have it.

    Raises: BackendError for another device than CUDA; MissingPackage where xformers cannot be imported.
    """
    if q.device.type != "cuda":
        raise BackendError(
            f"attention: backend 'xformers' was asked for with tensors on {q.device}, it has CUDA kernels only; move "
            "them to a CUDA device or use backend(attention='torch')"
        )
    try:
        import xformers.ops
    except ImportError as error:
        raise MissingPackage(
            f"attention: backend 'xformers' was asked for, xformers cannot be imported ({error}): pip install xformers"
        ) from None
    return xformers.ops


def _refusal(q: Tensor, error: NotImplementedError) -> BackendError:
    reason = " ".join(str(error).split())
    return BackendError(
        f"attention: xformers has no operator for {tuple(q.shape)} {q.dtype} ({reason}); use backend(attention='torch')"
    )
