"""attention against every backend of torch's own, xformers, and a copy of q, k, v and o."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffsda.bench.kernel_cases import EAGER, OURS, Case, Peers, differentiable, library
from diffsda.kernels import attention, backend
from diffsda.kernels.attention import cost, reference

# Frames, pixels, channels: the video nets' levels with attention.
SHAPES = ((160, 64, 384), (160, 16, 384), (160, 256, 128), (160, 64, 128), (10, 64, 384))
BACKENDS = {
    "sdpa_math": SDPBackend.MATH,
    "sdpa_flash": SDPBackend.FLASH_ATTENTION,
    "sdpa_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
}


def cases() -> list[Case]:
    """Return the nets' shapes both ways."""
    found = []
    for shape in SHAPES:
        for direction in ("forward", "backward"):
            count = cost.forward if direction == "forward" else cost.backward
            goals = ("attention",) if shape == SHAPES[0] and direction == "forward" else ()
            setting = {"shape": shape, "compile": shape in SHAPES[:2]}
            moved = count(*shape, torch.bfloat16)
            name = "x".join(map(str, shape))
            found.append(Case("attention", name, "bfloat16", direction, moved, setting, graph=True, goals=goals))
    return found


def peers(case: Case, device: torch.device) -> Peers:
    """Return everyone on the same queries, keys and values; what a library does not take is said by its row."""
    qkv = [torch.randn(case.setting["shape"], device=device).to(case.kind) for _ in range(3)]

    def by(which: str) -> Callable[..., Tensor]:
        def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            with backend("triton") if which == "triton" else backend(attention=which):
                return attention(q, k, v)

        return run

    def through(kind: SDPBackend) -> Callable[..., Tensor]:
        def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            with sdpa_kernel(kind):
                return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]

        return run

    functions: dict[str, Any] = {OURS: (by("triton"), qkv), EAGER: (reference.attention, qkv)}
    missing = {}
    tried = {name: through(kind) for name, kind in BACKENDS.items()}
    if library("xformers.ops"):
        tried["xformers"] = by("xformers")
    else:
        missing["xformers"] = "not installed"
    for name, function in tried.items():
        try:
            function(*qkv)
        except Exception as reason:
            missing[name] = f"{type(reason).__name__}: {reason}".splitlines()[0][:200]
        else:
            functions[name] = (function, qkv)
    made = differentiable(case, functions, (reference.attention, qkv), device)
    made.missing |= missing
    return made
