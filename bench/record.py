"""Turn a run of the benches into a record, and the record into one JSON line."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import diffsda
from diffsda.atomic import atomic_write
from diffsda.bench import cpu_goals
from diffsda.bench.cases import records_folder

KEPT = ("batch", "frames", "threads", "loader", "frames_per_s")
"""What a bench says of itself that a record keeps as it is."""
LOADERS = ("pyav", "torchcodec", "decord")


def summarise(raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return everyone's seconds for every (what, preset): the best round of each, the median, and the spread.

    ``ratio``, ``compiled_ratio``, ``onnxruntime_ratio``: medians over rounds of published to ours, to ours compiled and
    to ours exported, taken in pairs; ``over_floor`` likewise of ours to the floor. ``over_floor_best``: the best round
    of ours by the floor's best. ``spread``: half the distance between the quartiles, by the median.
    Jobs have nobody published and no floor: everyone's ``clips_per_s``, at the median, and ``compiled_ratio`` and
    ``onnxruntime_ratio`` of ours, run eagerly, to them.
    """
    rows: dict[str, dict[str, Any]] = {}
    for bench in raw["benchmarks"]:
        about, taken = bench["extra_info"], {"ours": bench["stats"]["data"], **bench["extra_info"]["others_s"]}
        row: dict[str, Any] = {}
        for who, seconds in taken.items():
            row |= {f"{who}_s": min(seconds), f"{who}_median_s": statistics.median(seconds)}
        row |= {
            "spread": {who: spread(seconds) for who, seconds in taken.items()},
            "rounds": len(taken["ours"]),
            **{k: about[k] for k in (*KEPT, "flops", "difference") if k in about},
        }
        beside = "published" if "published" in taken else "ours"
        for who in ("compiled", "onnxruntime"):
            if who in taken:
                row[f"{who}_ratio"] = paired(taken[beside], taken[who])
        row |= _beside(taken, about) if "floor" in taken else _throughput(taken, about)
        rows[f"{about['what']}/{about['preset']}"] = row
    return rows


def _beside(taken: dict[str, list[float]], about: dict[str, Any]) -> dict[str, Any]:
    """Return how ours, and other loaders, lie beside the published execution, and ours beside the floor."""
    best = about["floor_best_s"]
    return {
        "floor_s": best,
        "ratio": paired(taken["published"], taken["ours"]),
        "over_floor": paired(taken["ours"], taken["floor"]),
        "over_floor_best": min(taken["ours"]) / best,
        **{f"{who}_ratio": paired(taken["published"], taken[who]) for who in LOADERS if who in taken},
        **{
            f"{who}_over_floor": paired(taken[who], taken["floor"])
            for who in ("compiled", "onnxruntime")
            if who in taken
        },
    }


def _throughput(taken: dict[str, list[float]], about: dict[str, Any]) -> dict[str, Any]:
    """Return everyone's clips a second."""
    return {"clips_per_s": {who: about["batch"] / statistics.median(seconds) for who, seconds in taken.items()}}


def paired(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median over rounds of one time by another of the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def spread(seconds: Sequence[float]) -> float:
    """Return half the distance between the quartiles, by the median: 0 for fewer than two rounds."""
    if len(seconds) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return (high - low) / 2 / middle


def device() -> str:
    """Return the name of what the benches ran on, fit for a folder."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"


def write(rows: dict[str, dict[str, Any]]) -> Path:
    """Write a record of today under the device's name and the threads; an earlier one of the day is replaced."""
    threads = next((row["threads"] for row in rows.values()), 0)
    record = {
        "about": {
            "device": device(),
            "cores": os.cpu_count(),
            "threads": threads,
            "diffsda": diffsda.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "statistic": "seconds: best round, median; ratios: median over rounds, in pairs; the floor is timed in "
            "every round, its seconds are the best round of each operation, added up",
        },
        "rows": rows,
    }
    folder = records_folder() / device()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"threads-{threads}-{record['about']['date']}.json"  # type: ignore[index]
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
    print(cpu_goals.summary(rows), file=sys.stderr)
    wanted = ("ours_s", "published_s", "floor_s", "compiled_s", "onnxruntime_s", "ratio", "over_floor")
    short = {name: {k: float(f"{row[k]:.4g}") for k in wanted if k in row} for name, row in rows.items()}
    print(json.dumps(short))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
