"""The least time of a piece of work on this machine: its operations at the measured matmul and copy rates."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from diffsda.bench.published.operations import Operation, What, flops, operations
from diffsda.recipe import Recipe
from diffsda.train.speed import matmul_rate

COPIED = {"cpu": 2**28, "cuda": 2**31}
"""Bytes that the measured copy reads, and writes."""
ADAMW_BYTES = 28
"""Bytes an update moves for every weight: reads weight, gradient and both moments, writes all but the gradient."""


@dataclass(frozen=True)
class Machine:
    """What a machine can do: operations a second in matrix products, bytes a second read plus written in a copy."""

    flops_per_s: float
    bytes_per_s: float

    def seconds(self, flops: float, moved: float) -> float:
        """Return the least time of work that may overlap computing with moving."""
        return max(flops / self.flops_per_s, moved / self.bytes_per_s)


@dataclass(frozen=True)
class Roofline:
    """The work of a preset and its least time here.

    flops: two a multiply-add. moved: bytes, every operand read and every result written once by each convolution and
    product (what lies between could be fused into them), and the optimiser's. seconds: the sum of the least times of
    the operations, each bound by computing or by moving.
    """

    flops: int
    moved: int
    seconds: float
    machine: Machine

    def about(self, seconds: float) -> dict[str, Any]:
        """Return everything as plain data, with the share of the roofline that a time reaches."""
        return {
            "flops": self.flops,
            "bytes": self.moved,
            "matmul_flops_per_s": self.machine.flops_per_s,
            "copy_bytes_per_s": self.machine.bytes_per_s,
            "seconds": self.seconds,
            "share": self.seconds / seconds,
        }


def measured(device: torch.device, dtype: torch.dtype) -> Machine:
    """Measure the two rates in this run, with the threads torch has."""
    return Machine(matmul_rate(device, dtype), _copy_rate(device))


def roofline(
    recipe: Recipe, what: What, clips: int, frames: int, machine: Machine, *, itemsize: int, weights: int = 0
) -> Roofline:
    """Return the work of ``what`` and its least time.

    itemsize: bytes of a value in the networks' type; weights: number of values that training updates.
    Differs: counted as the authors' networks are built, a direction of the LSTM too much where a recipe is causal.
    """
    built = recipe.replace(encoder={"causal": False}, backbone={"zero_init": False}, noise={"per_frame": True})
    listed = operations(built, what, clips, frames)
    moved, seconds = 0, 0.0
    for op in listed:
        bytes_ = op.count * itemsize * _values(op)
        moved += bytes_
        seconds += machine.seconds(flops([op]), bytes_)
    updated = ADAMW_BYTES * weights
    return Roofline(flops(listed), moved + updated, seconds + machine.seconds(0, updated), machine)


def _values(op: Operation) -> int:
    """Return values read and written: operands and result, for each product or convolution of the passes."""
    passes = {"none": 1, "weight": 2, "both": 3}[op.backward]
    if op.kind == "product":
        count, m, k, n = op.shape
        return passes * count * (m * k + k * n + m * n)
    n, cin, height, width, cout, kernel, stride = op.shape
    out = n * cout * ((height - 1) // stride + 1) * ((width - 1) // stride + 1)
    given = n * cin * height * width // (4 if op.doubled else 1)
    return passes * (given + prod((cout, cin, kernel, kernel)) + out)


def _copy_rate(device: torch.device) -> float:
    """Return bytes read plus written a second by a large copy: the best of a few."""
    source = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2 * source.numel() / best
