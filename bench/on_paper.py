"""Run operations on tensors without data and note every kernel that would have been started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import OPDEFS
from torch.utils._python_dispatch import TorchDispatchMode

from diffsda.kernels import backend
from diffsda.kernels.launch import Specialisation, recording


@dataclass(frozen=True)
class Launch:
    """A kernel as it would be compiled, and the call of an operation that asks for it.

    targets: compute capabilities whose limits it was planned for; empty where a plan is the same for all.
    """

    op: str
    shape: str
    dtype: str
    specialisation: Specialisation
    targets: tuple[int, ...] = ()


@contextmanager
def on_paper(*, channels_last: bool = True, **operations: str) -> Iterator[list[Launch]]:
    """Within it our operations, given meta tensors, fill the list with what they would start.

    ``channels_last``: convolutions answer in that layout, as they do on a GPU when given it. operations: another
    backend of ours for some of them.
    """
    launches: list[Launch] = []
    with (
        recording() as notes,
        backend("triton"),
        backend(**operations),
        _Implementations(notes, launches, channels_last),
    ):
        yield launches


class _Implementations(TorchDispatchMode):
    """Run the implementation of our registered operations, where meta tensors would get the fake."""

    def __init__(self, notes: list[Specialisation], launches: list[Launch], channels_last: bool) -> None:
        super().__init__()
        self.notes, self.launches, self.channels_last = notes, launches, channels_last

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if not name.startswith("diffsda::"):
            out = func(*args, **(kwargs or {}))
            return _channels_last(out) if self.channels_last and "convolution" in name else out
        before = len(self.notes)
        with self:
            out = OPDEFS[name]._init_fn(*args, **(kwargs or {}))
        given = _tensors(args)
        shape = str(tuple(given[0].shape)) if given else ""
        op, dtype = name.removeprefix("diffsda::"), _narrowest([*given, *_tensors(out)])
        self.launches += [Launch(op, shape, dtype, s) for s in self.notes[before:]]
        return out


def _narrowest(tensors: list[Tensor]) -> str:
    """Return the dtype the network works in: the narrowest floating-point one of the call."""
    floats = [t.dtype for t in tensors if t.is_floating_point()]
    return str(min(floats, key=lambda d: d.itemsize)).removeprefix("torch.") if floats else ""


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for v in value for t in _tensors(v)] if isinstance(value, (list, tuple)) else []


def _channels_last(out: Any) -> Any:
    if isinstance(out, (list, tuple)):
        return type(out)(_channels_last(v) for v in out)
    if isinstance(out, torch.Tensor) and out.ndim == 4:
        return out.contiguous(memory_format=torch.channels_last)
    return out
