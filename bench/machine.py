"""The GPU host: what is there, and the two ceilings that every figure is measured against."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

OPTIONAL = ("xformers", "apex", "liger-kernel", "onnxruntime", "nvidia-dali-cuda130")
COPIED = 4 * 2**30
"""Bytes that the measured copy reads, and writes."""
SIDE = 8192
"""Rows and columns of the measured matrix product."""


def environment() -> dict[str, Any]:
    """Return GPU, driver and versions; nothing is started on the device."""
    name, driver = (_first(_output("nvidia-smi", f"--query-gpu={q}", "--format=csv,noheader")) for q in _ASKED)
    libraries = _output("ldconfig", "-p").splitlines()
    return {
        "gpu": name,
        "driver": driver,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "triton": _version("triton"),
        "libraries": {p: _version(p) for p in OPTIONAL if _version(p)},
        "nvcuvid": next((line.split("=>")[-1].strip() for line in libraries if "nvcuvid" in line), None),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(Path(__file__).resolve().parents[1]),
    }


_ASKED = ("name", "driver_version")


def line(about: dict[str, Any]) -> str:
    """Return the environment as one line."""
    libraries = ", ".join(f"{k} {v}" for k, v in about["libraries"].items()) or "no optional libraries"
    return (
        f"{about['gpu'] or 'no GPU'} | driver {about['driver'] or '-'} | torch {about['torch']} (CUDA "
        f"{about['cuda'] or '-'}, cuDNN {about['cudnn'] or '-'}) | triton {about['triton'] or '-'} | "
        f"Python {about['python']} | {libraries} | nvcuvid {about['nvcuvid'] or 'not found'} | commit {about['commit']}"
    )


def commit(root: Path) -> str:
    """Return the commit a checkout stands at, twelve digits, read from its files; 'unknown' outside of one."""
    given = os.environ.get("DIFFSDA_COMMIT")
    if given:
        return given[:12]
    try:
        git = root / ".git"
        if git.is_file():  # a linked worktree
            git = (root / git.read_text().partition(":")[2].strip()).resolve()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head[:12]
        reference = head.partition(":")[2].strip()
        shared = (git / (git / "commondir").read_text().strip()).resolve() if (git / "commondir").is_file() else git
        for place in (git, shared):
            if (place / reference).is_file():
                return (place / reference).read_text().strip()[:12]
        packed = (shared / "packed-refs").read_text().splitlines()
        return next(row.split()[0][:12] for row in packed if row.endswith(" " + reference))
    except (OSError, StopIteration, IndexError):
        return "unknown"


def ceilings(device: torch.device) -> dict[str, float]:
    """Measure the copy (bytes read plus written, a second) and the bf16 product (operations a second)."""
    copy = _seconds(_copy(device))
    a, b = (torch.randn(SIDE, SIDE, dtype=torch.bfloat16, device=device) for _ in range(2))
    c = torch.empty_like(a)
    product = _seconds(lambda: torch.mm(a, b, out=c))
    return {"copy_bytes_per_s": 2 * COPIED / copy, "matmul_flops_per_s": 2 * SIDE**3 / product}


def _copy(device: torch.device) -> Callable[[], object]:
    source = torch.empty(COPIED, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _seconds(call: Callable[[], object], warm: int = 3, rounds: int = 9) -> float:
    """Return the median of single calls between events."""
    times = []
    for i in range(warm + rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        if i >= warm:
            times.append(start.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _output(*command: str) -> str:
    path = shutil.which(command[0]) or next((p for p in (f"/sbin/{command[0]}",) if Path(p).exists()), None)
    if path is None:
        return ""
    try:
        done = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _first(text: str) -> str | None:
    return text.strip().splitlines()[0].strip() if text.strip() else None
