"""adamw by NVIDIA apex: its multi-tensor AdamW for the update, torch for the rest."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.errors import MissingPackage
from diffsda.kernels.adamw.reference import Number, clipped, follow
from diffsda.kernels.launch import BackendError

INSTALL = "build NVIDIA's from its sources (github.com/NVIDIA/apex, --cpp_ext --cuda_ext) or use another backend"
DECOUPLED, BIAS_CORRECTION = 1, 1
"""apex's switches: weight decay as in AdamW, moments corrected for their start at 0."""


@torch.no_grad()
def adamw(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    *,
    lr: Number,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: Number,
    clip: float | None,
    averages: Sequence[Tensor],
    decay: Number | None,
    copies: Sequence[Tensor],
) -> Tensor:
    """Do what the reference does, the update with apex's kernel; a number on the device takes its capturable form.

    Raises: MissingPackage without NVIDIA's apex; BackendError off CUDA.
    """
    apply, plain, capturable = _kernels()
    device = params[0].device
    _only_on(device)
    grads, norm = clipped(params, grads, clip)
    overflow = torch.zeros(1, dtype=torch.int32, device=device)
    lists = [grads, list(params), list(exp_avgs), list(exp_avg_sqs)]
    after = (DECOUPLED, BIAS_CORRECTION, weight_decay)
    if isinstance(lr, Tensor) or isinstance(step, Tensor):
        rate, count = _on(device, lr, torch.float32), _on(device, step, torch.int32)
        unscaled = torch.ones(1, dtype=torch.float32, device=device)
        apply(capturable, overflow, lists, rate, *betas, eps, count, *after, unscaled)
    else:
        apply(plain, overflow, lists, lr, *betas, eps, int(step), *after)
    follow(params, averages, decay, copies)
    return norm


def kind() -> str:
    """Return which apex is installed, importing none: ``nvidia``, ``other`` (a web toolkit) or ``none``."""
    found = importlib.util.find_spec("apex")
    if found is None:
        return "none"
    places = [Path(place) for place in found.submodule_search_locations or ()]
    return "nvidia" if any((place / "optimizers" / "fused_adam.py").is_file() for place in places) else "other"


def require_apex(device: torch.device) -> None:
    """Refuse to go on where apex cannot run.

    Raises: BackendError for another device than CUDA; MissingPackage where NVIDIA's apex is not installed.
    """
    _only_on(device)
    _kernels()


@lru_cache
def _kernels() -> tuple[Callable[..., Any], Any, Any]:
    which = kind()
    if which == "none":
        raise MissingPackage(f"adamw: backend 'apex' was asked for and apex is not installed: {INSTALL}")
    if which == "other":
        raise MissingPackage(
            "adamw: backend 'apex' was asked for, but the installed apex has no optimizers.FusedAdam: it is the "
            f"package index's unrelated web toolkit; pip uninstall apex, then {INSTALL}"
        )
    try:
        import amp_C
        from apex.multi_tensor_apply import multi_tensor_applier
    except ImportError as error:
        raise MissingPackage(
            f"adamw: backend 'apex' was asked for, but apex was built without its CUDA kernels ({error}): {INSTALL}"
        ) from None
    return multi_tensor_applier, amp_C.multi_tensor_adam, amp_C.multi_tensor_adam_capturable


def _only_on(device: torch.device) -> None:
    if device.type != "cuda":
        raise BackendError(f"adamw: backend 'apex' was asked for with tensors on {device}, expected CUDA; use 'torch'")


def _on(device: torch.device, number: Number, dtype: torch.dtype) -> Tensor:
    if isinstance(number, Tensor):
        return number.to(dtype).reshape(1)
    return torch.full((1,), number, dtype=dtype, device=device)
