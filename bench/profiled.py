"""What a call spends its time on: a trace, and a table of the longest kernels (operators on the CPU)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

LONGEST = 10
"""Lines of the table."""


def profile(
    call: Callable[[], object], device: torch.device, trace: Path | None = None, warm: int = 2
) -> dict[str, Any]:
    """Run a call once under the profiler; return its longest kernels and what all took together.

    trace: a file for a Chrome trace (chrome://tracing, Perfetto); its folder is made.
    """
    from torch.profiler import ProfilerActivity

    cuda = device.type == "cuda"
    for _ in range(warm):
        call()
    if cuda:
        torch.cuda.synchronize()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities) as seen:
        call()
        if cuda:
            torch.cuda.synchronize()
    if trace is not None:
        trace.parent.mkdir(parents=True, exist_ok=True)
        seen.export_chrome_trace(str(trace))
    rows = []
    for event in seen.key_averages():
        on_device = str(event.device_type).endswith("CUDA")
        taken = event.self_device_time_total if cuda else event.self_cpu_time_total
        if taken > 0 and on_device == cuda:
            rows.append({"kernel": event.key[:160], "calls": event.count, "microseconds": taken})
    rows.sort(key=lambda row: -row["microseconds"])
    together = sum(row["microseconds"] for row in rows)
    table = [{**row, "share": row["microseconds"] / together} for row in rows[:LONGEST]]
    return {"kernels": table, "kernels_in_all": len(rows), "all_microseconds": together}


def lines(found: dict[str, Any]) -> list[str]:
    """Return the table as lines of text."""
    head = f"{found['all_microseconds'] / 1e3:.3f} ms in {found['kernels_in_all']} kinds of kernels; the longest:"
    return [head] + [
        f"{row['share']:6.1%} {row['microseconds'] / 1e3:10.3f} ms {row['calls']:6} x {row['kernel'][:90]}"
        for row in found["kernels"]
    ]
