"""How fast a run is: clips a second, the share of the machine's arithmetic, waiting for data, memory."""

from __future__ import annotations

import resource
import sys
import time
from functools import lru_cache

import torch

from diffsda.train.data import Ready
from diffsda.train.flops import step_flops
from diffsda.train.parallel import Processes
from diffsda.trainable import Trainable

DATASHEET = {"B200": 2250e12, "H200": 989.4e12, "H100": 989.4e12, "A100": 312e12, "L40S": 362e12, "4090": 165.2e12}
"""Dense bf16 rates with float32 sums (FLOP/s), by a part of the GPU's name; the PCIe and NVL cards of the H100 are
slower and not listed. Source: NVIDIA's datasheets, figures without sparsity."""


def datasheet_rate(name: str) -> float | None:
    """Return the dense bf16 rate of a GPU in FLOP/s as its maker states it, or None for one not listed."""
    if "PCIe" in name or "NVL" in name:
        return None
    return next((rate for part, rate in DATASHEET.items() if part in name), None)


@lru_cache
def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the rate of large square matrix products in FLOP/s: the best of a few.

    On CUDA this waits for the device; on the CPU it takes some milliseconds, with the threads torch has.
    """
    cuda = device.type == "cuda"
    n = 8192 if cuda else 512
    a = torch.ones(n, n, device=device, dtype=dtype)
    out = torch.empty_like(a)
    best = float("inf")
    for _ in range(8 if cuda else 4):
        _wait(device)
        began = time.perf_counter()
        torch.mm(a, a, out=out)
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best


def memory_peak(device: torch.device) -> int:
    """Return the most bytes held so far: by tensors on the device, or by this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # The kernel counts in KiB, but for macOS, which counts in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Meter:
    """Measure a run between its records.

    ``clips_per_s``: clips over all processes. ``mfu``: model FLOP utilisation, the operations the steps need (three
    forward passes, see ``flops``; padding needs none) over what as many devices could do at the rate of large matrix
    products measured here, in the network's type; ``mfu_datasheet``: the same over the GPU's stated dense bf16 rate,
    where that is known. ``data_wait``: share of the time the loop waited for its next batch. ``memory_gb``: peak so
    far, 10^9 bytes.
    """

    def __init__(self, model: Trainable, frames: int, processes: Processes, *, bf16: bool) -> None:
        self.processes = processes
        device = processes.device
        self._frame_flops = step_flops(model, frames) / frames
        self._rate = matmul_rate(device, torch.bfloat16 if bf16 else torch.float32)
        self._stated = datasheet_rate(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.begin()

    def begin(self, waited: float = 0.0) -> None:
        """Start measuring anew; ``waited`` as in ``values``."""
        self._since, self._waited, self._clips, self._frames = time.perf_counter(), waited, 0, 0

    def step(self, ready: Ready) -> None:
        """Count a step."""
        self._clips += ready.shape[0]
        self._frames += ready.frames

    def values(self, waited: float) -> dict[str, float]:
        """Return what was measured since the last time; ``waited``: seconds waited for batches since the start."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        done = self._frame_flops * self._frames / seconds / self.processes.world
        values = {"clips_per_s": self._clips / seconds, "mfu": done / self._rate}
        if self._stated is not None:
            values["mfu_datasheet"] = done / self._stated
        values["data_wait"] = (waited - self._waited) / seconds
        values["memory_gb"] = memory_peak(self.processes.device) / 1e9
        self.begin(waited)
        return values


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
