"""Turn a run of the benches into a record, and the record into one JSON line."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

import diffsda
from diffsda.atomic import atomic_write
from diffsda.bench.cases import records_folder


def summarise(raw: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return ours, published and floor of every (what, preset), in seconds: the best round of each.

    ``ratio`` is the median over rounds of published to ours, taken in pairs.
    """
    rows: dict[str, dict[str, float]] = {}
    for bench in raw["benchmarks"]:
        about, ours = bench["extra_info"], bench["stats"]["data"]
        theirs = about["published_s"]
        rows[f"{about['what']}/{about['preset']}"] = {
            "ours_s": min(ours),
            "published_s": min(theirs),
            "floor_s": about["floor_s"],
            "ours_median_s": statistics.median(ours),
            "published_median_s": statistics.median(theirs),
            "ratio": statistics.median(b / a for a, b in zip(ours, theirs)),
            **{k: about[k] for k in ("flops", "difference", "batch", "frames")},
        }
    return rows


def device() -> str:
    """Return the name of what the benches ran on, fit for a folder."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"


def write(rows: dict[str, dict[str, float]], name: str = "spine") -> Path:
    """Write a record of today under the device's name; an earlier record of the day is replaced."""
    record = {
        "about": {
            "device": device(),
            "cores": os.cpu_count(),
            "threads": 1,
            "diffsda": diffsda.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "statistic": "best round, seconds; the floor is the best repeat of each operation, added up",
        },
        "rows": rows,
    }
    folder = records_folder() / device()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{record['about']['date']}.json"  # type: ignore[index]
    text = json.dumps(record, indent=1) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))
    return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main(path: str) -> int:
    """Read what pytest-benchmark wrote, keep the record, print the line."""
    rows = summarise(json.loads(Path(path).read_text()))
    print(f"record: {write(rows)}", file=sys.stderr)
    wanted = ("ours_s", "published_s", "floor_s")
    print(json.dumps({name: {k: float(f"{row[k]:.4g}") for k in wanted} for name, row in rows.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
