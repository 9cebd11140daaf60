"""Starting a Triton kernel: on a CUDA device, in the interpreter, or on paper.

Operations call ``launch`` with every argument by name. On paper (``recording``) nothing runs: the exact
specialisation is noted instead, so that what is compiled ahead of time is what would have been launched.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from diffsda.errors import DiffSDAError, InputError, MissingPackage


def _version() -> tuple[int, ...] | None:
    try:
        return tuple(int(part) for part in importlib.metadata.version("triton").split(".")[:2])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


INSTALLED = importlib.util.find_spec("triton") is not None
"""Whether triton can be imported; nothing here imports it before a kernel is launched."""
INTERPRETED = os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")
"""Whether kernels run in Triton's interpreter, on the CPU; triton reads the variable when kernels are imported."""
VERSION = _version()
"""Triton's version, its first two numbers; None where it is not installed."""
GLUON_VERSIONS = ((3, 6), (3, 7))
"""Versions of Triton that our Gluon kernels were compiled with."""
OLDEST = (8, 0)
"""Compute capability that our kernels need."""
CUT_FOR = (9, 0)
"""Compute capability that tiles were cut for."""
SHARED_MEMORY = {(8, 0): 163, (8, 6): 99, (8, 9): 99, (9, 0): 227, (10, 0): 227, (12, 0): 99}
"""KiB of shared memory a program may have, by compute capability (CUDA C++ programming guide)."""
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
"""Types that our kernels read."""
ALIGNED = 16
"""Bytes a pointer, or elements an integer, must be a multiple of for the compiler to use wide accesses."""

Argument = Tensor | int | float | None

_POINTERS = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.uint8: "*u8",
    torch.bool: "*i1",
}


class BackendError(DiffSDAError, RuntimeError):
    """A backend was asked for by name and cannot run here."""


@dataclass(frozen=True)
class Specialisation:
    """A kernel as the compiler would see it: types, constants, alignment, options."""

    kernel: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    aligned: tuple[str, ...]
    options: Mapping[str, int]
    grid: tuple[int, ...] = field(compare=False)
    registers: int | None = None

    def options_on(self, target: int) -> dict[str, int]:
        """Return the options for a compute capability, as 90 for 9.0."""
        spare = self.registers is not None and target != 10 * CUT_FOR[0] + CUT_FOR[1]
        return {**self.options, "maxnreg": self.registers} if spare and self.registers else dict(self.options)

    @property
    def name(self) -> str:
        """The kernel's name."""
        return self.kernel.fn.__name__

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells two specialisations apart."""
        return (
            self.name,
            *(tuple(sorted(d.items())) for d in (self.types, self.constants, self.options)),
            self.aligned,
        )


_paper: list[Specialisation] | None = None
_elsewhere = False


@contextmanager
def recording() -> Iterator[list[Specialisation]]:
    """Note launches instead of doing them: operations given meta tensors fill the list."""
    global _paper
    before, _paper = _paper, []
    try:
        yield _paper
    finally:
        _paper = before


@contextmanager
def elsewhere() -> Iterator[None]:
    """On paper, plan as for a GPU that tiles were not cut for."""
    global _elsewhere
    before, _elsewhere = _elsewhere, True
    try:
        yield
    finally:
        _elsewhere = before


def cut_for(device: torch.device) -> bool:
    """Whether tiles were cut for a device; taken for granted where there is no GPU."""
    if _paper is not None or device.type != "cuda":
        return not _elsewhere
    return torch.cuda.get_device_capability(device) == CUT_FOR


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    arguments: Mapping[str, Argument],
    constants: Mapping[str, Any],
    *,
    warps: int,
    stages: int = 1,
    registers: int | None = None,
    always: bool = False,
) -> None:
    """Start ``kernel`` on ``grid``; arguments and compile-time constants by name.

    ``registers`` is how many a thread may have on GPUs the tiles were not cut for: left to itself, the assembler spills
    a value or two there for the sake of another program a multiprocessor. ``always`` on those too that they were.
    Raises: BackendError if it does not fit on the device.
    """
    options = {"num_warps": warps, "num_stages": stages}
    if registers is not None and always:
        options["maxnreg"] = registers
    if _paper is not None:
        _paper.append(_specialisation(kernel, grid, arguments, constants, options, registers))
        return
    if any(size <= 0 for size in grid):
        return
    device = next(v.device for v in arguments.values() if isinstance(v, Tensor))
    try:
        if device.type == "cuda":
            if registers is not None and torch.cuda.get_device_capability(device) != CUT_FOR:
                options["maxnreg"] = registers
            with torch.cuda.device(device):
                kernel[grid](**arguments, **constants, **options)
        else:
            kernel[grid](**arguments, **constants, **options)
    except Exception as error:
        if type(error).__name__ != "OutOfResources":
            raise
        raise BackendError(f"{kernel.fn.__name__}: does not fit on {device} ({error}); use backend('torch')") from None


def require(operation: str, tensor: Tensor) -> None:
    """Refuse to go on where our kernels cannot run.

    Raises: MissingPackage without triton; BackendError for a device without it; InputError for a dtype that
    kernels do not read.
    """
    if forward_ad._current_level >= 0:
        raise BackendError(
            f"{operation}: has no forward-mode derivative (torch.func.jvp) with backend 'triton'; backend('torch') has"
        )
    if tensor.dtype not in FLOATS:
        raise InputError(
            f"{operation}: got {tensor.dtype}, expected float32, bfloat16 or float16 for backend 'triton'; "
            "backend('torch') takes the rest"
        )
    if _paper is not None:
        return
    if not INSTALLED:
        raise MissingPackage(
            f"{operation}: backend 'triton' was asked for, triton is not installed: pip install triton (CUDA builds of "
            "torch bring their own)"
        )
    if tensor.device.type == "cpu" and not INTERPRETED:
        raise BackendError(
            f"{operation}: backend 'triton' was asked for with CPU tensors; move them to a CUDA device, set "
            "TRITON_INTERPRET=1 before the program starts (slow, for tests), or use backend('torch') or "
            "DIFFSDA_KERNELS=torch"
        )
    if tensor.device.type not in ("cpu", "cuda"):
        raise BackendError(f"{operation}: got a tensor on {tensor.device}, expected CUDA for backend 'triton'")
    if tensor.device.type == "cuda" and torch.cuda.get_device_capability(tensor.device) < OLDEST:
        have = ".".join(map(str, torch.cuda.get_device_capability(tensor.device)))
        raise BackendError(f"{operation}: got a GPU of compute capability {have}, expected 8.0 or higher for 'triton'")


def require_products(operation: str, tensor: Tensor) -> None:
    """Refuse as ``require`` does, and where matrix products would be wrong.

    Raises: BackendError for bfloat16 in Triton's interpreter, whose products of it are garbage; and as ``require``.
    """
    require(operation, tensor)
    if INTERPRETED and _paper is None and tensor.dtype == torch.bfloat16:
        raise BackendError(
            f"{operation}: Triton's interpreter multiplies matrices of bfloat16 wrongly; use float16 or float32 there"
        )


def require_gluon(operation: str, tensor: Tensor) -> None:
    """Refuse to go on where kernels in Gluon cannot run: they have no interpreter, and names move between versions.

    Raises: BackendError; and as ``require``.
    """
    if _paper is None and tensor.device.type != "cuda":
        raise BackendError(
            f"{operation}: backend 'gluon' was asked for with tensors on {tensor.device}, expected CUDA; it has no "
            "interpreter: use backend('triton') or backend('torch')"
        )
    require(operation, tensor)
    if _paper is None and VERSION not in GLUON_VERSIONS:
        known = ", ".join(f"{a}.{b}" for a, b in GLUON_VERSIONS)
        have = ".".join(map(str, VERSION or ("?",)))
        raise BackendError(f"{operation}: got Triton {have}, expected {known} for backend 'gluon'")


def processors(device: torch.device) -> int:
    """Return the number of multiprocessors to fill; an H200's where there is no GPU to ask."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return 132
    return torch.cuda.get_device_properties(device).multi_processor_count


def shared_memory(device: torch.device) -> int:
    """Return the bytes of shared memory a program may have; an H200's where there is no GPU to ask."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return 227 * 1024
    return SHARED_MEMORY.get(torch.cuda.get_device_capability(device), 99) * 1024


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n."""
    return 1 << max(0, (n - 1).bit_length())


def _specialisation(
    kernel: Any,
    grid: tuple[int, ...],
    arguments: Mapping[str, Argument],
    constants: Mapping[str, Any],
    options: Mapping[str, int],
    registers: int | None,
) -> Specialisation:
    """Say what the launcher would: type of every argument, ones as constants, multiples of 16."""
    types: dict[str, str] = {}
    known: dict[str, Any] = dict(constants)
    aligned = []
    general = {p.name for p in kernel.params if p.do_not_specialize}
    for name, value in arguments.items():
        if value is None:
            types[name], known[name] = "constexpr", None
        elif isinstance(value, Tensor):
            types[name] = _POINTERS[value.dtype]
            # Allocations are aligned; a view is if it starts at a multiple.
            if value.storage_offset() * value.element_size() % ALIGNED == 0:
                aligned.append(name)
        elif isinstance(value, float):
            types[name] = "fp32"
        elif value == 1 and name not in general:
            types[name], known[name] = "constexpr", 1
        else:
            types[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            if value % ALIGNED == 0 and name not in general:
                aligned.append(name)
    names = kernel.arg_names
    ordered = {n: types.get(n, "constexpr") for n in names}
    return Specialisation(kernel, ordered, known, tuple(aligned), options, grid, registers)
