"""precondition against eager torch and a copy of as many bytes."""

from __future__ import annotations

import torch

from diffsda.bench.kernel_cases import EAGER, OURS, Case, Peers, copied
from diffsda.kernels import backend
from diffsda.kernels.precondition import cost, precondition, reference

# Frames of the voxceleb latents: a training batch, and enough to fill the chip; 64-pixel frames.
SHAPES = ((160, 4, 32, 32), (8192, 4, 32, 32), (1600, 3, 64, 64))


def cases() -> list[Case]:
    """Return float32 clips to a bf16 network, in both layouts."""
    found = []
    for shape in SHAPES:
        for last in (True, False):
            moved = cost.forward(shape, torch.float32, torch.bfloat16)
            name = f"{'x'.join(map(str, shape))} {'nhwc' if last else 'nchw'}"
            setting = {"shape": shape, "last": last, "compile": last and shape != SHAPES[2]}
            small = shape[0] <= 160
            found.append(Case("precondition", name, "bfloat16", "forward", moved, setting, graph=small))
    return found


def peers(case: Case, device: torch.device) -> Peers:
    """Return everyone on the same inputs."""
    shape, last = case.setting["shape"], case.setting["last"]
    clean, noise = (torch.randn(shape, device=device) for _ in range(2))
    sigma = torch.randn(shape[0], device=device).exp()

    def plain():
        return reference.precondition(clean, noise, sigma, dtype=case.kind, channels_last=last)

    @torch.no_grad()
    def ours():
        with backend("triton"):
            return (precondition(clean, noise, sigma, dtype=case.kind, channels_last=last),)

    def exact():
        return (reference.precondition(clean.double(), noise.double(), sigma.double(), channels_last=last),)

    calls = {OURS: ours, EAGER: lambda: (plain(),), "copy": copied(case.cost.useful, device)}

    def compiled():
        function = torch.compile(plain, dynamic=False)
        return lambda: (function(),)

    return Peers(calls, exact, compiled)
