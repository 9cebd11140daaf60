"""Count the bytes that kernels read and write, lane by lane, in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from triton.runtime import interpreter


@dataclass
class Access:
    """Bytes of one tensor: asked for in all, and distinct ones."""

    asked: int = 0
    distinct: int = 0

    def __add__(self, other: Access) -> Access:
        return Access(self.asked + other.asked, self.distinct + other.distinct)


@dataclass(repr=False)
class Traffic:
    """Everything that was loaded and stored while counting."""

    loads: list[tuple[np.ndarray, int]] = field(default_factory=list)
    stores: list[tuple[np.ndarray, int]] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)
    # Freed memory could come back as another tensor and be counted as this one.
    kept: list[object] = field(default_factory=list)

    def read(self, *tensors: Tensor | None) -> Access:
        """Return what was loaded of these tensors."""
        return _summed(self.loads, [_span(t) for t in tensors if t is not None])

    def written(self, *tensors: Tensor | None) -> Access:
        """Return what was stored to these tensors."""
        return _summed(self.stores, [_span(t) for t in tensors if t is not None])

    @property
    def moved(self) -> int:
        """All bytes asked for, both ways, of everything."""
        return sum(size * len(places) for places, size in (*self.loads, *self.stores))

    def useful(self, *tensors: Tensor | None) -> int:
        """Distinct bytes read and written of the tensors that go in and come out."""
        return self.read(*tensors).distinct + self.written(*tensors).distinct


@contextmanager
def counting() -> Iterator[Traffic]:
    """Count within; a lane that its mask switches off moves nothing."""
    traffic = Traffic()
    builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
    load, store, start = builder.create_masked_load, builder.create_masked_store, executor._init_args_hst
    atomics = builder.create_atomic_rmw, builder.create_atomic_cas

    def counted_load(self, ptrs, mask, *rest):
        value = load(self, ptrs, mask, *rest)
        traffic.loads.append((_active(ptrs, mask), value.data.dtype.itemsize))
        return value

    def counted_store(self, ptrs, value, mask, *rest):
        traffic.stores.append((_active(ptrs, mask), value.data.dtype.itemsize))
        return store(self, ptrs, value, mask, *rest)

    def counted_start(self, *arguments):
        on_host = start(self, *arguments)
        traffic.kernels.append(self.fn.__name__)
        traffic.kept.append((arguments, on_host))
        return on_host

    def refused(self, *rest, **named):
        raise AssertionError("an atomic access: its bytes are not counted, and floating-point sums differ by run")

    builder.create_masked_load, builder.create_masked_store = counted_load, counted_store
    builder.create_atomic_rmw = builder.create_atomic_cas = refused
    executor._init_args_hst = counted_start
    try:
        yield traffic
    finally:
        builder.create_masked_load, builder.create_masked_store = load, store
        builder.create_atomic_rmw, builder.create_atomic_cas = atomics
        executor._init_args_hst = start


def _active(ptrs, mask) -> np.ndarray:
    """Return the addresses of the lanes that are on."""
    on = np.broadcast_to(mask.data, ptrs.data.shape)
    return ptrs.data[on].astype(np.uint64).ravel()


def _summed(accesses: list[tuple[np.ndarray, int]], spans: list[tuple[int, int]]) -> Access:
    total = Access()
    for size in {size for _, size in accesses}:
        places = np.concatenate([a for a, s in accesses if s == size])
        inside = [(places >= first) & (places < last) for first, last in spans]
        places = places[np.logical_or.reduce(inside)] if inside else places[:0]
        total += Access(size * len(places), size * len(np.unique(places)))
    return total


def _span(t: Tensor) -> tuple[int, int]:
    """Return where the tensor's elements lie, first byte and last plus one."""
    assert t.device == torch.device("cpu")
    last = sum((n - 1) * s for n, s in zip(t.shape, t.stride()))
    return t.data_ptr(), t.data_ptr() + (last + 1) * t.element_size()
