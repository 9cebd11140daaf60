"""What is installed, what is used, what is missing or broken, and why."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["in use", "available", "missing", "broken"]


@dataclass(frozen=True)
class Part:
    """A package the project uses or could use."""

    module: str
    distribution: str
    purpose: str
    required: bool
    install: str
    holds: str = ""
    """A file that tells the package from another of the same name."""
    imports: str = ""
    """What must be importable, where that is more than the module."""


@dataclass(frozen=True)
class Finding:
    """What was found of a part."""

    name: str
    status: Status
    version: str
    reason: str


PARTS = (
    Part("torch", "torch", "networks", True, "pip install 'torch>=2.11'"),
    Part("numpy", "numpy", "arrays", True, "pip install numpy"),
    Part("safetensors", "safetensors", "model files", True, "pip install safetensors"),
    Part("tyro", "tyro", "command line", True, "pip install tyro"),
    Part("rich", "rich", "progress", True, "pip install rich"),
    Part("matplotlib", "matplotlib", "figures", True, "pip install matplotlib"),
    Part("sklearn", "scikit-learn", "probes and judges", True, "pip install scikit-learn"),
    Part("scipy", "scipy", "spectra, solvers of evaluation", True, "pip install scipy"),
    Part("tensorboard", "tensorboard", "train --tensorboard", False, "pip install 'diffsda[tensorboard]'"),
    Part(
        "triton",
        "triton",
        "fused kernels",
        False,
        "pip install triton (CUDA builds of torch bring their own)",
    ),
    Part("xformers", "xformers", "attention kernels", False, "pip install --no-deps xformers"),
    Part(
        "apex",
        "apex",
        "NVIDIA apex kernels",
        False,
        "build from NVIDIA's sources (github.com/NVIDIA/apex); the index's apex is another",
        holds="optimizers/fused_adam.py",
        imports="apex.optimizers, amp_C",
    ),
    Part("nvidia.dali", "nvidia-dali-cuda130", "video decoding", False, "pip install 'diffsda[dali]'"),
    Part("av", "av", "video decoding on the CPU", False, "pip install 'diffsda[video]'"),
    Part("soundfile", "soundfile", "sound files", False, "pip install 'diffsda[audio]'"),
    Part("pandas", "pandas", "tables: csv", False, "pip install 'diffsda[tables]'"),
    Part("pyarrow", "pyarrow", "tables: parquet", False, "pip install 'diffsda[tables]'"),
    Part("onnx", "onnx", "export", False, "pip install onnx onnxscript"),
    Part("onnxruntime", "onnxruntime", "running exports", False, "pip install onnxruntime"),
    Part("tensorrt", "tensorrt", "engines", False, "pip install tensorrt (from NVIDIA's package index)"),
    Part("tensorrt_rtx", "tensorrt-rtx", "engines for RTX", False, "pip install tensorrt-rtx"),
)


CHECKOUT = f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent.parent)!r})"
"""What makes a Python elsewhere import this very package."""


def examine() -> list[Finding]:
    """Look at Python, the device and every part; nothing is loaded into this process."""
    parts, device = [_part(part) for part in PARTS], _device()
    return [_python(), *parts, device, _kernels(), _sessions(), compiling(device.status == "in use")]


def healthy(findings: list[Finding]) -> bool:
    """Whether everything the project cannot do without is there."""
    needed = {p.module for p in PARTS if p.required} | {"python", "kernels", "sessions"}
    return all(f.status == "in use" for f in findings if f.name in needed)


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding(
        "python",
        "in use" if good else "broken",
        platform.python_version(),
        "" if good else "expected >= 3.11",
    )


def _part(part: Part) -> Finding:
    try:
        found = importlib.util.find_spec(part.module)
    except (ImportError, ValueError, AttributeError):
        found = None
    if found is None:
        return Finding(part.module, "missing", "", f"{part.purpose}: {part.install}")
    try:
        version = importlib.metadata.version(part.distribution)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    places = [Path(place) for place in found.submodule_search_locations or ()]
    if part.holds and not any((place / part.holds).is_file() for place in places):
        reason = f"{part.purpose}: what is installed is another package of that name, without {part.holds}"
        return Finding(part.module, "broken", version, f"{reason}; {part.install}")
    # Imported elsewhere: a package that crashes on import must not take the doctor with it.
    _, error = _run(f"import {part.imports or part.module}")
    if error:
        return Finding(part.module, "broken", version, f"{part.purpose}: {error}")
    if part.required:
        return Finding(part.module, "in use", version, part.purpose)
    return Finding(part.module, "available", version, f"{part.purpose}: not used by default")


def _device() -> Finding:
    probe = (
        "import torch; ok = torch.cuda.is_available(); "
        "print(torch.version.cuda or '', '|', torch.cuda.get_device_name() if ok else '')"
    )
    said, error = _run(probe)
    if error:
        return Finding("cuda", "broken", "", f"torch cannot be asked: {error}")
    version, _, name = (s.strip() for s in said.rpartition("\n")[2].partition("|"))
    if name:
        return Finding("cuda", "in use", version, name)
    why = "this torch is a CPU build" if not version else "no usable NVIDIA device or driver"
    return Finding("cuda", "missing", version, f"{why}; training and sampling run on the CPU")


def _kernels() -> Finding:
    """Say what the switch takes for tensors of this machine's device; triton stays unloaded."""
    probe = (
        f"{CHECKOUT}; import torch; "
        "from diffsda.kernels.backend import BACKENDS, check, resolve; "
        "device = torch.device('cuda' if torch.cuda.is_available() else 'cpu'); "
        "check(device); "
        "print(device.type, *(f'{name}={resolve(name, device)}' for name in BACKENDS), sep='|')"
    )
    said, error = _run(probe)
    if error:
        return Finding("kernels", "broken", "", f"what was asked for cannot run: {error}")
    device, *taken = said.rpartition("\n")[2].split("|")
    by_backend: dict[str, list[str]] = {}
    for operation, _, backend in (pair.partition("=") for pair in taken):
        name = "triton where it agrees with torch on first use" if backend == "compare" else backend
        by_backend.setdefault(name, []).append(operation)
    whole = len(by_backend) == 1
    parts = [name if whole else f"{name} ({', '.join(operations)})" for name, operations in by_backend.items()]
    return Finding("kernels", "in use", "", f"{'; '.join(parts)}; on {device}")


def _sessions() -> Finding:
    """Say how a session would run video and vector models here if left to choose."""
    probe = (
        f"{CHECKOUT}; import torch; "
        "from diffsda.inference import Execution; from diffsda.presets import PRESETS; "
        "device = torch.device('cuda' if torch.cuda.is_available() else 'cpu'); "
        "taken = [(r, Execution().resolve(device, r)) for r in PRESETS.values()]; "
        "print(device.type, *(f'{r.backbone.kind},{r.name},{e.precision},{e.layout},{e.route}' for r, e in taken), "
        "sep='|')"
    )
    said, error = _run(probe)
    if error:
        return Finding("sessions", "broken", "", f"none can be made: {error}")
    device, *lines = said.rpartition("\n")[2].split("|")
    by_way: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        kind, name, precision, layout, route = line.split(",")
        # The layout is one of images.
        way = ", ".join([precision, *([layout] if kind == "unet" else []), route])
        by_way.setdefault((kind, way), []).append(name)
    parts = []
    for kind, title in (("unet", "video"), ("mlp", "vectors")):
        ways = {way: names for (of, way), names in by_way.items() if of == kind}
        most = max(ways, key=lambda way: len(ways[way]))
        parts += [f"{title if way == most else ', '.join(ways[way])}: {way}" for way in sorted(ways, key=most.__ne__)]
    return Finding("sessions", "in use", "", f"{'; '.join(parts)}; on {device}")


def compiling(cuda: bool) -> Finding:
    """Look for what torch.compile builds with: C++ on the CPU; on CUDA Triton, which builds launchers in C."""
    triton = next(part for part in PARTS if part.module == "triton")
    if cuda and (found := _part(triton)).status != "available":
        return Finding("torch.compile", found.status, "", found.reason)
    name, package, variable = ("C", "gcc", "CC") if cuda else ("C++", "g++", "CXX")
    usual = [package, "clang"] if cuda else [package]
    compiler = os.environ.get(variable) or next(filter(shutil.which, usual), package)
    if shutil.which(compiler) is None:
        how = f"there is no {compiler}: apt install {package}, or name a {name} compiler in {variable}"
        return Finding("torch.compile", "missing", "", how)
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return Finding("torch.compile", "missing", "", "there is no Python.h: apt install python3-dev")
    return Finding("torch.compile", "available", "", f"for --route compile; builds with {compiler}")


def _run(code: str) -> tuple[str, str]:
    """Run a line of Python elsewhere; return what it printed, and why it failed or nothing."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "", "its import did not end within 120 s"
    if done.returncode == 0:
        return done.stdout.strip(), ""
    if done.returncode < 0:
        return "", f"its import was killed by signal {-done.returncode}"
    lines = done.stderr.strip().splitlines()
    return "", lines[-1][:200] if lines else f"its import ended with status {done.returncode}"
