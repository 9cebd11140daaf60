"""Where a list of tensors lies, on the device: addresses and chunks, made once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffsda.kernels.launch import ALIGNED, BackendError

CHUNK = 16384
"""Elements that a program works through."""
COLUMNS = 8
"""int64 of a pointer row, see ``fused``."""
KEPT = 8
"""Tables kept of either kind. Those that a graph has captured stay for good: it reads them as long as it lives."""


@dataclass(frozen=True)
class Table:
    """A list of tensors as the kernels see it: rows of addresses, and one row for every chunk."""

    pointers: Tensor
    chunks: Tensor
    stream: Any
    made: Any
    """The CUDA stream it was made on and the event that says it is there."""


_tables: OrderedDict[Hashable, Table] = OrderedDict()
_chunks: OrderedDict[Hashable, Tensor] = OrderedDict()
_captured: dict[Hashable, Table] = {}


def table(columns: Sequence[Sequence[Tensor]]) -> Table:
    """Return the table of lists of tensors, one list a column; an empty list's addresses are 0.

    Raises: BackendError if it has to be made while a graph is captured.
    """
    first = columns[0]
    device, sizes = first[0].device, tuple(t.numel() for t in first)
    addresses = tuple(tuple(t.data_ptr() for t in column) for column in columns)
    key = (device, CHUNK, sizes, addresses)
    capturing = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    found = _captured.get(key) or _tables.get(key)
    if found is None:
        if capturing:
            raise BackendError(
                "adamw: these tensors' addresses were not known before the graph was captured; take one step with "
                "the same memory first and keep the gradients' (zero_grad(set_to_none=False))"
            )
        found = _table(device, sizes, addresses)
        _keep(_tables, key, found)
    elif capturing:
        _captured[key] = found
    elif device.type == "cuda" and torch.cuda.current_stream(device) != found.stream:
        torch.cuda.current_stream(device).wait_event(found.made)
    if key in _tables:
        _tables.move_to_end(key)
    return found


def _table(device: torch.device, sizes: tuple[int, ...], addresses: tuple[tuple[int, ...], ...]) -> Table:
    aligned = tuple(all(a % ALIGNED == 0 for a in row) for row in zip(*(c for c in addresses if c)))
    key = (device, CHUNK, sizes, aligned)
    chunks = _chunks.get(key)
    if chunks is None:
        chunks = _to(device, rows(sizes, aligned))
        _keep(_chunks, key, chunks)
    pointers = torch.zeros(len(sizes), COLUMNS, dtype=torch.int64)
    for i, column in enumerate(addresses):
        if column:
            pointers[:, i] = torch.tensor(column, dtype=torch.int64)
    stream = made = None
    on_device = _to(device, pointers)
    if device.type == "cuda":
        stream, made = torch.cuda.current_stream(device), torch.cuda.Event()
        made.record(stream)
    return Table(on_device, chunks, stream, made)


def rows(sizes: Sequence[int], aligned: Sequence[bool]) -> Tensor:
    """Return a row for every chunk: tensor, first element / 16, elements 16 bytes at a time / 16, elements."""
    made = [
        (i, first // 16, count // 16 if wide else 0, count)
        for i, (size, wide) in enumerate(zip(sizes, aligned))
        for first in range(0, size, CHUNK)
        for count in (min(CHUNK, size - first),)
    ]
    return torch.tensor(made, dtype=torch.int64).reshape(-1, 4)


def _to(device: torch.device, host: Tensor) -> Tensor:
    if device.type == "cuda":
        return host.pin_memory().to(device, non_blocking=True)
    return host.to(device)


def _keep(kept: OrderedDict[Hashable, Any], key: Hashable, value: Any) -> None:
    kept[key] = value
    while len(kept) > KEPT:
        kept.popitem(last=False)
