"""The plain torch form of heun's two halves, and what both forms refuse."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.errors import InputError

NETWORK = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""What a network may compute in."""


def heun_predict(x: Tensor, f: Tensor, out: Tensor, *, a: float, b: float) -> None:
    """Write the network's next input, out <- a x + b f.

    Shapes: x, f, out (N, ...), all the same.
    Precision: computed in x's dtype, rounded once to out's.
    """
    out.copy_(torch.add(a * x, f, alpha=b))


def heun_correct(
    x: Tensor,
    f: Tensor,
    f2: Tensor | None,
    out: Tensor | None,
    *,
    keep: float,
    first: float,
    second: float,
    c_in: float,
) -> None:
    """Move the state, x <- keep x + first f + second f2, and write the network's next input, out <- c_in x.

    Shapes: x, f, f2, out (N, ...), all the same. ``f2`` None leaves its term out, ``out`` None its writing.
    Precision: computed in x's dtype, out rounded once to its own.
    """
    y = torch.add(keep * x, f, alpha=first)
    if f2 is not None:
        y = torch.add(y, f2, alpha=second)
    x.copy_(y)
    if out is not None:
        out.copy_(x * c_in)


def check(operation: str, x: Tensor, **others: Tensor | None) -> None:
    """Refuse what neither form takes.

    Raises: InputError for other shapes, devices or dtypes, tensors with holes, layouts that do not go together,
    or a gradient that would be lost.
    """
    given = {name: t for name, t in others.items() if t is not None}
    if x.dtype not in (torch.float32, torch.float64):
        raise InputError(f"{operation}: got x in {x.dtype}, expected the state in float32 (or float64 with 'torch')")
    for name, t in given.items():
        if t.shape != x.shape:
            raise InputError(f"{operation}: got {name} {tuple(t.shape)}, expected {tuple(x.shape)} like x")
        if t.device != x.device:
            raise InputError(f"{operation}: got {name} on {t.device}, expected {x.device} like x")
        if t.dtype not in NETWORK:
            raise InputError(f"{operation}: got {name} in {t.dtype}, expected float32, bfloat16, float16 or float64")
    if torch.is_grad_enabled():
        for name, t in {"x": x, **given}.items():
            if t.requires_grad:
                raise InputError(
                    f"{operation}: got {name} with requires_grad, expected none: the operation works in place and has "
                    "no gradient; call it under torch.no_grad() or use diffsda.edm.sampler.heun"
                )
    tensors = list(given.values())
    layout = strides(tensors[0])
    for name, t in given.items():
        if not dense(t) or strides(t) != layout:
            raise InputError(
                f"{operation}: got {name} with strides {t.stride()}, expected a dense tensor laid out like the others"
            )
    if not dense(x) or (strides(x) != layout and not mixed(x, tensors[0])):
        raise InputError(
            f"{operation}: got x with strides {x.stride()} and the network's tensors with {tensors[0].stride()}, "
            "expected equal strides, or x contiguous (N, C, H, W) and the others channels_last"
        )


def strides(t: Tensor) -> tuple[int, ...]:
    """Return the strides that matter: those of dimensions longer than one."""
    return tuple(stride for size, stride in zip(t.shape, t.stride()) if size > 1)


def dense(t: Tensor) -> bool:
    """Whether the elements lie one after the other in memory, in any order of dimensions."""
    expected = 1
    for stride, size in sorted((stride, size) for size, stride in zip(t.shape, t.stride()) if size != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def mixed(x: Tensor, f: Tensor) -> bool:
    """Whether x is contiguous (N, C, H, W) and f channels_last, and that is not the same."""
    return (
        x.ndim == 4
        and strides(x) != strides(f)
        and x.is_contiguous()
        and f.is_contiguous(memory_format=torch.channels_last)
    )
