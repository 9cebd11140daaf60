"""group_norm against eager torch, torch's native norm in both layouts, apex, Liger and a copy of as many bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffsda.bench.kernel_cases import EAGER, OURS, Case, Peers, differentiable, library
from diffsda.kernels import backend, group_norm
from diffsda.kernels.dropout import DropoutState
from diffsda.kernels.group_norm import cost, reference
from diffsda.presets import preset

GROUPS = 32
# (N, C, H): 60 MB and more in bf16.
LARGE = ((160, 192, 32), (160, 64, 64), (160, 768, 16), (160, 384, 32), (320, 192, 32))


def cases() -> list[Case]:
    """Return large tensors both ways, every site of the voxceleb net, other types, layouts, dropout and offset."""
    found = [_case(*shape, direction="forward", goals=("gn_forward",)) for shape in LARGE]
    found += [_case(*shape, direction="backward", goals=("gn_backward",)) for shape in LARGE]
    found += sites()
    found += [
        _case(160, 192, 32, direction=direction, **other)
        for direction in ("forward", "backward")
        for other in ({"dtype": "float32"}, {"dtype": "float16"}, {"last": False}, {"dropout": 0.1})
    ]
    # The bias of the convolution before, which eager torch adds in a pass of its own.
    found += [_case(160, c, 32, direction="forward", offset=True, skipped=s) for c, s in ((192, 0), (384, 192))]
    return found


def sites(frames: int = 160) -> list[Case]:
    """Return the norm sites of the voxceleb nets, each with how often it occurs."""
    from diffsda.bench.sites import norm_sites

    found = []
    for site, count in sorted(norm_sites(preset("voxceleb")).items(), reverse=True):
        goals = ("gn_sites", "gn_small") if site.size <= 8 else ("gn_sites",)
        found.append(
            _case(
                frames,
                site.total,
                site.size,
                direction="forward",
                modulated=site.modulated,
                act=site.act,
                skipped=site.skipped,
                count=count,
                goals=goals,
                graph=site.size <= 8,
                few=True,
            )
        )
    return found


def _case(
    n: int, c: int, size: int, *, direction: str, dtype: str = "bfloat16", modulated: bool = True, act: str = "silu",
    last: bool = True, dropout: float = 0.0, skipped: int = 0, few: bool = False, count: int = 1,
    graph: bool = False, offset: bool = False, goals: tuple[str, ...] = (),
) -> Case:  # fmt: skip
    kind = getattr(torch, dtype)
    count_bytes = cost.forward if direction == "forward" else cost.backward
    also = {"offset": True} if offset else {}
    moved = count_bytes(n, c, size * size, kind, groups=GROUPS, modulated=modulated, last=last, **also)
    words = [f"{n}x{c}x{size}x{size}", "site" * few, "modulated" * modulated, act, "nchw" * (not last)]
    words += [f"{skipped} from skip" * bool(skipped), f"dropout {dropout}" * bool(dropout), "offset" * offset]
    setting = {
        "shape": (n, c, size), "modulated": modulated, "act": act, "last": last, "dropout": dropout,
        "skipped": skipped, "few": few or offset, "offset": offset,
        "compile": bool(goals) and not few and (n, c, size) in LARGE[:2],
    }  # fmt: skip
    name = " ".join(filter(None, words))
    return Case("group_norm", name, dtype, direction, moved, setting, graph=graph, count=count, goals=goals)


def peers(case: Case, device: torch.device) -> Peers:
    """Return everyone on the same inputs; the two-source form is compared with concatenation."""
    s = case.setting
    n, c, size = s["shape"]
    layout = torch.channels_last if s["last"] else torch.contiguous_format

    def clip(channels: int) -> Tensor:
        # A level of its own for every channel: norms must take it away.
        x = torch.randn((n, channels, size, size), device=device) + torch.randn((1, channels, 1, 1), device=device)
        return x.to(case.kind).contiguous(memory_format=layout)

    skip = clip(s["skipped"]) if s["skipped"] else None
    x, weight, bias = clip(c - s["skipped"]), *(torch.randn(c, device=device) for _ in range(2))
    scale, shift = (torch.randn((n, c), device=device) for _ in range(2)) if s["modulated"] else (None, None)
    offset = torch.randn(c, device=device) if s["offset"] else None
    inputs = (x, weight, bias, scale, shift, skip, offset)
    state = DropoutState(0, device).tensor

    def ours(which: str) -> Callable[..., Tensor]:
        def run(x: Tensor, w: Tensor, b: Tensor, scale: Any, shift: Any, skip: Any, offset: Any) -> Tensor:
            with backend("triton") if which == "triton" else backend(group_norm=which):
                return group_norm(
                    x, w, b, groups=GROUPS, scale=scale, shift=shift, act=s["act"], dropout=s["dropout"], skip=skip,
                    offset=offset, state=state,
                )  # fmt: skip

        return run

    def eager(x: Tensor, w: Tensor, b: Tensor, scale: Any, shift: Any, skip: Any, offset: Any) -> Tensor:
        if offset is not None:
            # As convolutions do: in x's type, each adding its own.
            own = offset.to(x.dtype)[:, None, None]
            x, skip = x + own[: x.shape[1]], skip if skip is None else skip + own[x.shape[1] :]
        options: dict[str, Any] = {"scale": scale, "shift": shift, "act": s["act"], "skip": skip}
        return reference.group_norm(x, w, b, groups=GROUPS, dropout=s["dropout"], **options)

    # torch's norm wants parameters of its input's type; casting them is not timed.
    theirs = (x, weight.to(case.kind), bias.to(case.kind), scale, shift, skip, offset)
    functions: dict[str, Any] = {OURS: (ours("triton"), inputs), EAGER: (eager, theirs)}
    # Smaller slabs stay in registers either way.
    if s["last"] and not s["dropout"] and case.direction == "forward" and skip is None and size >= 32 and _gluon():
        functions["gluon"] = (ours("gluon"), inputs)
    if not s["few"]:
        functions |= _libraries(case, inputs)
    made = differentiable(case, functions, (eager, inputs), device)
    if s["dropout"]:
        made.exact = made.compiled = None
    for name, module in (("apex", "apex.contrib.group_norm"), ("liger", "liger_kernel.ops.group_norm")):
        if not s["few"] and library(module) is None:
            made.missing[name] = "not installed"
    return made


def _libraries(case: Case, inputs: tuple[Tensor | None, ...]) -> dict[str, Any]:
    x, weight, bias, *_ = inputs
    assert x is not None
    assert weight is not None
    assert bias is not None
    w, b = weight.to(x.dtype), bias.to(x.dtype)

    def native(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.group_norm(x, GROUPS, w, b)

    nchw = x.contiguous()
    found: dict[str, Any] = {
        "native_nhwc": (native, (x.contiguous(memory_format=torch.channels_last), w, b)),
        "native_nchw": (native, (nchw, w, b)),
    }
    liger, apex = library("liger_kernel.ops.group_norm"), library("apex.contrib.group_norm")
    if liger:

        def through_liger(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            return liger.LigerGroupNormFunction.apply(x, w, b, w.numel(), GROUPS, 1e-5)

        found["liger_nchw"] = (through_liger, (nchw, w, b))
    if apex and not case.setting["modulated"]:
        module = apex.GroupNorm(GROUPS, w.numel(), act=case.setting["act"] if case.setting["act"] != "none" else "")

        def through_apex(x: Tensor, w: Tensor, b: Tensor, *_: Any) -> Tensor:
            return torch.func.functional_call(module.to(x.device), {"weight": w, "bias": b}, (x,))

        found["apex"] = (through_apex, inputs)
    return found


def _gluon() -> bool:
    """Whether the Gluon kernel can be asked for here."""
    from diffsda.kernels.backend import BACKENDS

    return "gluon" in BACKENDS["group_norm"]
