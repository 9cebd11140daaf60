"""adamw with clipping, averages and bf16 copies in one pass, against torch's fused and foreach forms and apex."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw as foreach_adamw

from diffsda.bench.kernel_cases import EAGER, OURS, Case, Peers, copied, library
from diffsda.denoiser import Denoiser
from diffsda.encoder import SequenceEncoder
from diffsda.kernels import backend
from diffsda.kernels.adamw import adamw, cost, reference
from diffsda.presets import preset

SETTINGS: dict[str, Any] = {
    "lr": 1e-4,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 1e-5,
    "step": 3,
    "clip": 1.0,
}
DECAY = 0.999


def cases() -> list[Case]:
    """Return the voxceleb model's own list of tensors, and one large tensor."""
    found = []
    for name, shapes in (("voxceleb", shapes_of("voxceleb")), ("one tensor of 2^27", ((2**27,),))):
        sizes = [torch.Size(s).numel() for s in shapes]
        goals = ("adamw",) if name == "voxceleb" else ()
        words = f"{name}, {sum(sizes) / 1e6:.0f} M in {len(sizes)}"
        setting = {"shapes": shapes, "compile": False}
        found.append(Case("adamw", words, "float32", "forward", cost.step(sizes), setting, goals=goals))
    return found


def shapes_of(name: str) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a model's weights."""
    with torch.device("meta"):
        model = nn.ModuleList([SequenceEncoder(preset(name)), Denoiser(preset(name))])
    return tuple(tuple(p.shape) for p in model.parameters())


def peers(case: Case, device: torch.device) -> Peers:
    """Return everyone, each with weights and moments of its own from the same start."""
    shapes = case.setting["shapes"]
    params, grads, moments = ([torch.randn(s, device=device) for s in shapes] for _ in range(3))
    squares = [torch.rand(s, device=device) for s in shapes]
    averages = [torch.randn(s, device=device) for s in shapes]

    def lists(kind: torch.dtype = torch.float32) -> list[list[Tensor]]:
        found = [[t.to(kind, copy=True) for t in group] for group in (params, moments, squares, averages)]
        return [*found, [torch.empty_like(t, dtype=torch.bfloat16) for t in params]]

    def call_of(which: str) -> Callable[[], Sequence[Tensor]]:
        p, m, v, a, c = lists()
        g = [t.clone() for t in grads]

        def run() -> Sequence[Tensor]:
            with backend("triton") if which == "triton" else backend(adamw=which):
                adamw(p, g, m, v, **SETTINGS, averages=a, decay=DECAY, copies=c)
            return joined(p, m, v, a)

        return run

    calls = {OURS: call_of("triton"), EAGER: call_of("torch"), "copy": copied(case.cost.useful, device)}
    calls["foreach"] = _foreach(lists(), [t.clone() for t in grads])
    missing = {}
    if library("apex.optimizers") is None:
        missing["apex"] = "not installed"
    else:
        calls["apex"] = call_of("apex")

    def exact() -> Sequence[Tensor]:
        p, m, v, a, _ = lists(torch.float64)
        g = [t.double() for t in grads]
        reference.adamw(p, g, m, v, **SETTINGS, averages=a, decay=DECAY, copies=[])
        return joined(p, m, v, a)

    return Peers(calls, exact, None, missing)


def joined(*lists: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return a few tensors of every list: looking at them all would be timed with the call."""
    return [group[i] for group in lists for i in sorted({0, len(group) // 2, len(group) - 1})]


def _foreach(lists: list[list[Tensor]], grads: list[Tensor]) -> Callable[[], Sequence[Tensor]]:
    """Return torch's foreach form of the same update, piece by piece."""
    p, m, v, a, c = lists
    count = [torch.tensor(float(SETTINGS["step"]) - 1) for _ in p]
    numbers: dict[str, Any] = {k: SETTINGS[k] for k in ("lr", "weight_decay", "eps")}
    beta1, beta2 = SETTINGS["betas"]

    @torch.no_grad()
    def run() -> Sequence[Tensor]:
        norm = torch.nn.utils.get_total_norm(grads)
        factor = (SETTINGS["clip"] / (norm + 1e-6)).clamp(max=1.0)
        scaled = torch._foreach_mul(grads, factor)
        foreach_adamw(
            p, scaled, m, v, [], count, foreach=True, amsgrad=False, beta1=beta1, beta2=beta2, maximize=False, **numbers
        )  # fmt: skip
        torch._foreach_lerp_(a, p, 1 - DECAY)
        torch._foreach_copy_(c, p)
        return joined(p, m, v, a)

    return run
