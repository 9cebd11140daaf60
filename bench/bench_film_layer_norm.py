"""film_layer_norm against eager torch, its layer norm alone and a copy of as many bytes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsda.bench.kernel_cases import EAGER, OURS, Case, Peers, differentiable, library
from diffsda.kernels import backend, film_layer_norm
from diffsda.kernels.film_layer_norm import cost, reference

# Rows of the audio and series nets: clips x time steps, and their widths.
SHAPES = ((16 * 80, 1024), (16 * 80, 512), (64 * 1024, 1024), (128 * 1024, 256))


def cases() -> list[Case]:
    """Return the vector nets' rows and larger ones, modulated and plain, both ways."""
    found = []
    for rows, width in SHAPES:
        for direction in ("forward", "backward"):
            found.append(_case(rows, width, direction))
    found += [_case(*SHAPES[2], "forward", modulated=False), _case(*SHAPES[2], "forward", dtype="float32")]
    return found


def _case(rows: int, width: int, direction: str, *, modulated: bool = True, dtype: str = "bfloat16") -> Case:
    count = cost.forward if direction == "forward" else cost.backward
    moved = count(rows, width, getattr(torch, dtype), torch.float32 if modulated else None)
    small = rows < 2**14
    setting = {"shape": (rows, width), "modulated": modulated, "compile": modulated and dtype == "bfloat16" and (
        (rows, width) in SHAPES[::2])}  # fmt: skip
    name = f"{rows}x{width}{' modulated' * modulated}"
    return Case("film_layer_norm", name, dtype, direction, moved, setting, graph=small)


def peers(case: Case, device: torch.device) -> Peers:
    """Return everyone on the same inputs."""
    rows, width = case.setting["shape"]
    x = torch.randn((rows, width), device=device).to(case.kind)
    weight, bias = (torch.randn(width, device=device) for _ in range(2))
    scale = shift = None
    if case.setting["modulated"]:
        scale, shift = (torch.randn((rows, width), device=device) for _ in range(2))

    def ours(x: Tensor, w: Tensor, b: Tensor, scale: Any, shift: Any) -> Tensor:
        with backend("triton"):
            return film_layer_norm(x, w, b, scale=scale, shift=shift)

    def eager(x: Tensor, w: Tensor, b: Tensor, scale: Any, shift: Any) -> Tensor:
        return reference.film_layer_norm(x, w, b, scale=scale, shift=shift)

    theirs = (x, weight.to(case.kind), bias.to(case.kind), scale, shift)
    inputs = (x, weight, bias, scale, shift)
    made = differentiable(case, {OURS: (ours, inputs), EAGER: (eager, theirs)}, (eager, inputs), device)
    if library("liger_kernel.ops.layer_norm") is None:
        made.missing["liger"] = "not installed"
    return made
