"""The one switch: which implementation of an operation runs.

    with diffsda.kernels.backend("triton"): ...                  # every operation
    with diffsda.kernels.backend("torch", attention="xformers"): ...
    DIFFSDA_KERNELS=triton  or  DIFFSDA_KERNELS=auto,adamw=apex  # for a whole process

``torch`` is the plain reference, ``triton`` our kernel, ``xformers`` and ``apex`` are libraries; ``gluon`` is
group_norm's kernel with large slabs in shared memory, opt-in until a record speaks for it. ``auto`` (the default)
takes ``torch`` on the CPU, and on CUDA our kernel where a record or a comparison with its reference on first use
speaks for it. What is asked for by name runs or fails; only ``auto`` chooses for itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch.autograd import forward_ad

from diffsda.errors import InputError
from diffsda.kernels.launch import INSTALLED, OLDEST, require, require_gluon

BACKENDS: Mapping[str, tuple[str, ...]] = {
    "group_norm": ("torch", "triton", "gluon"),
    "film_layer_norm": ("torch", "triton"),
    "precondition": ("torch", "triton"),
    "edm_loss": ("torch", "triton"),
    "heun": ("torch", "triton"),
    "attention": ("torch", "triton", "xformers"),
    "adamw": ("torch", "triton", "apex"),
    "nearest_code": ("torch", "triton"),
}
"""What each operation can run on. ``sdpa`` is another name for attention's ``torch``."""

PROVEN: Mapping[str, frozenset[str]] = {}
"""Operations a record speaks for, by GPU (``torch.cuda.get_device_name()``): ``auto`` takes them unexamined."""

VARIABLE = "DIFFSDA_KERNELS"


@contextmanager
def backend(name: str | None = None, /, **operations: str) -> Iterator[None]:
    """Choose the implementation for a while: of every operation, or by operation. It holds for the process.

    Raises: InputError for an unknown name or operation.
    """
    before = _chosen
    use(name, **operations)
    try:
        yield
    finally:
        _set(before)


def use(name: str | None = None, /, **operations: str) -> None:
    """Choose the implementation from now on; see ``backend``.

    Raises: InputError for an unknown name or operation.
    """
    choice = dict(_chosen) if name is None else _everywhere(name)
    for operation, wanted in operations.items():
        choice[operation] = _checked(operation, wanted)
    _set(choice)


def chosen(operation: str) -> str:
    """Return what was asked for: auto, torch, triton or a library's name."""
    return _chosen[operation]


def resolve(operation: str, device: torch.device) -> str:
    """Return what runs for tensors of a device: torch, triton, a library, or ``compare``.

    ``compare`` means: ours if it agrees with the reference on first use (``diffsda.kernels.first_use``).
    """
    if torch.onnx.is_in_onnx_export():
        return "torch"  # Graph formats know the reference's operations, not ours.
    wanted = _chosen[operation]
    if wanted != "auto":
        return wanted
    if forward_ad._current_level >= 0:
        return "torch"  # Only the references have forward-mode derivatives.
    if device.type != "cuda" or torch.version.hip is not None or not INSTALLED:
        return "torch"
    if torch.cuda.is_available() and torch.cuda.get_device_capability(device) < OLDEST:
        return "torch"
    if PROVEN and operation in PROVEN.get(torch.cuda.get_device_name(device), frozenset()):
        return "triton"
    return "compare"


def check(device: torch.device) -> None:
    """Refuse now what was asked for and cannot run on a device, before long work begins.

    Raises: MissingPackage or BackendError.
    """
    some = torch.empty(0, device=device)
    for operation, wanted in _chosen.items():
        if wanted == "triton":
            require(operation, some)
        elif wanted == "gluon":
            require_gluon(operation, some)
        elif wanted == "apex":
            from diffsda.kernels.adamw.nvidia_apex import require_apex

            require_apex(device)
        elif wanted == "xformers":
            from diffsda.kernels.attention.memory_efficient import package

            package(some)


def _set(choice: dict[str, str]) -> None:
    global _chosen
    _chosen = choice


def _from_environment() -> dict[str, str]:
    parts = [p.strip() for p in os.environ.get(VARIABLE, "").split(",") if p.strip()]
    choice = _everywhere("auto")
    for i, part in enumerate(parts):
        operation, equals, wanted = part.partition("=")
        if equals:
            choice[operation] = _checked(operation, wanted)
        elif i:
            raise InputError(
                f"{VARIABLE}: got {part!r} after {parts[i - 1]!r}, expected one name for all operations, first, then "
                "operation=name, as in auto,adamw=apex"
            )
        else:
            choice = _everywhere(part)
    return choice


def _everywhere(name: str) -> dict[str, str]:
    if name not in ("auto", "torch", "triton"):
        raise InputError(
            f"backend: got {name!r}, expected auto, torch or triton for all operations; libraries are chosen by "
            "operation, as in attention=xformers"
        )
    return dict.fromkeys(BACKENDS, name)


def _checked(operation: str, wanted: str) -> str:
    if operation not in BACKENDS:
        raise InputError(f"backend: got operation {operation!r}, expected one of {', '.join(BACKENDS)}")
    wanted = "torch" if (operation, wanted) == ("attention", "sdpa") else wanted
    if wanted not in ("auto", *BACKENDS[operation]):
        known = ", ".join(("auto", *BACKENDS[operation]))
        raise InputError(f"backend: got {wanted!r} for {operation}, expected one of {known}")
    return wanted


_chosen = _from_environment()
