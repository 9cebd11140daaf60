"""edm_loss against eager torch and a copy of as many bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.bench.kernel_cases import EAGER, OURS, Case, Peers, differentiable
from diffsda.kernels import backend
from diffsda.kernels.edm_loss import cost, edm_loss, reference

SHAPES = ((160, 4, 32, 32), (8192, 4, 32, 32), (1600, 3, 64, 64))


def cases() -> list[Case]:
    """Return losses alone, and with their gradient: f, clean and noise in, the gradient out."""
    found = []
    for shape in SHAPES:
        for direction in ("forward", "both"):
            setting = {"shape": shape, "compile": shape != SHAPES[2]}
            name = f"{'x'.join(map(str, shape))} nhwc"
            moved = cost.forward(shape, torch.bfloat16, torch.float32, gradient=direction == "both")
            found.append(Case("edm_loss", name, "bfloat16", direction, moved, setting, graph=shape[0] <= 160))
    return found


def peers(case: Case, device: torch.device) -> Peers:
    """Return everyone on the same inputs; only the network's output has a gradient."""
    shape = case.setting["shape"]
    clean, noise = (torch.randn(shape, device=device) for _ in range(2))
    sigma = torch.randn(shape[0], device=device).exp()
    f = torch.randn(shape, device=device).to(case.kind).contiguous(memory_format=torch.channels_last)

    def ours(f: Tensor) -> Tensor:
        with backend("triton"):
            return edm_loss(f, clean, noise, sigma)

    def eager(f: Tensor) -> Tensor:
        c, e, s = (
            (clean, noise, sigma) if f.dtype != torch.float64 else (clean.double(), noise.double(), sigma.double())
        )
        return reference.edm_loss(f, c, e, s)

    return differentiable(case, {OURS: (ours, (f,)), EAGER: (eager, (f,))}, (eager, (f,)), device)
