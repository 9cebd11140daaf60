"""Write the README's tables from the records: no number there without a file behind it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.bench import cpu_goals, goals, network_goals
from diffsda.bench.cases import records_folder
from diffsda.errors import InputError

# score -> (what it says, goal, whether higher is better)
_SCORES: dict[str, tuple[str, float | None, bool]] = {
    "accuracy_static": ("speaker read from s", 0.97, True),
    "accuracy_dynamic_frame": ("speaker read from one frame of d (chance 0.11)", 0.20, False),
    "accuracy_dynamic_all": ("speaker read from all frames of d", None, False),
    "accuracy_mean_feature": ("*baseline: speaker read from the raw time mean*", None, True),
    "eer_static": ("equal error rate of s", 0.12, False),
    "eer_dynamic": ("equal error rate of d (chance 0.5)", 0.36, True),
    "eer_mean_feature": ("*baseline: equal error rate of the raw time mean*", None, False),
    "swap_read_as_static": ("swaps read as the static donor", 0.87, True),
    "swap_read_as_dynamic": ("swaps read as the dynamics donor", None, False),
    "judge_on_real": ("*ceiling: the judge on real clips*", None, True),
    "trajectory_to_dynamic": ("cosine of a swap's motion to its dynamics donor", None, True),
    "trajectory_to_static": ("cosine of a swap's motion to its static donor", None, False),
    "closer": ("difference of these two cosines", 0.05, True),
    "swap_read_as_static_fresh_noise": ("swaps from fresh noise read as the static donor", None, True),
    "closer_fresh_noise": ("difference of the cosines, swaps from fresh noise", None, True),
    "reconstruction_mse": ("reconstruction MSE, own start noise (data variance 0.25)", None, False),
    "reconstruction_mse_fresh": ("reconstruction MSE, fresh start noise", None, False),
    "seconds": ("seconds in all", 240, False),
}


def demo_table(record: dict[str, Any]) -> str:
    """Return the demonstration's scores as a table: mean over seeds, smallest to largest, goal."""
    results = [
        {
            **r,
            "closer": r["trajectory_to_dynamic"] - r["trajectory_to_static"],
            "closer_fresh_noise": r["trajectory_to_dynamic_fresh_noise"] - r["trajectory_to_static_fresh_noise"],
        }
        for r in record["results"]
    ]
    lines = ["| score on the test split | mean | over seeds | goal | |", "|---|---|---|---|---|"]
    for name, (words, goal, higher) in _SCORES.items():
        values = [r[name] for r in results]
        mean = sum(values) / len(values)
        digits = 0 if name == "seconds" else 5 if name == "reconstruction_mse" else 3
        met = "" if goal is None else "met" if (mean >= goal if higher else mean <= goal) else "**missed**"
        bound = "" if goal is None else f"{'>=' if higher else '<='} {goal:g}"
        spread = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
        lines.append(f"| {words} | {mean:.{digits}f} | {spread} | {bound} | {met} |")
    about = record["about"]
    seeds = ", ".join(str(r["seed"]) for r in results)
    lines += [
        "",
        f"Seeds {seeds}; torch {about['torch']}, {about['threads']} threads. `make demo-table` makes it anew.",
    ]
    return "\n".join(lines)


def bench_table(records: Sequence[dict[str, Any]]) -> str:
    """Return bench records, one a number of threads, as the goals and a table of ratios each."""
    return "\n\n".join([_cpu_goals(records[0]), *map(_ratios, records)])


def _cpu_goals(record: dict[str, Any]) -> str:
    lines = [f"| goal, {_threads(record)} | wanted | measured | |", "|---|---|---|---|"]
    for verdict in cpu_goals.verdicts(record["rows"]):
        wanted, got, where = cpu_goals.shown(verdict)
        words = f"**{verdict.words}**" if verdict.met is False else verdict.words
        lines.append(f"| {verdict.goal.words} | {wanted} | {f'{got} {where}'.strip()} | {words} |")
    return "\n".join(lines)


def _threads(record: dict[str, Any]) -> str:
    count = record["about"]["threads"]
    return f"{count} thread{'s' if count != 1 else ''}"


def _ratios(record: dict[str, Any]) -> str:
    lines = [
        "| what / preset | clips x frames | ours, ms | published / ours | / ours compiled | / ours in ONNX Runtime "
        "| ours / floor |",
        "|---|---|---|---|---|---|---|",
    ]
    jobs, loaders = [], []
    for name, row in record["rows"].items():
        size = f"{row['batch']} x {row['frames']}"
        if "clips_per_s" in row:
            jobs.append(_job(name, size, row))
            continue
        if "frames_per_s" in row:
            loaders.append(_loader(name, size, row))
            continue
        others = [f"{row[f'{who}_ratio']:.2f}" if f"{who}_ratio" in row else "" for who in ("compiled", "onnxruntime")]
        lines.append(
            f"| {name} | {size} | {1e3 * row['ours_median_s']:.4g} ± {row['spread']['ours']:.0%} | "
            f"**{row['ratio']:.2f}** | {' | '.join(others)} | {row['over_floor']:.2f} |"
        )
    if jobs:
        lines += [
            "",
            "| whole jobs, clips/s | clips x frames | ours | compiled | in ONNX Runtime |",
            "|---|---|---|---|---|",
        ]
        lines += jobs
    if loaders:
        lines += [
            "",
            "| clips out of video files | clips x frames | ours, frames/s | published / ours | / PyAV | / decord "
            "| / torchcodec | ours / decoding alone |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += loaders
    about = record["about"]
    where = f"{about['device']}, {_threads(record)}, torch {about['torch']}, {about['date']}"
    return "\n".join([*lines, "", f"Side by side in one run on {where}; `make bench` makes it anew."])


def _job(name: str, size: str, row: dict[str, Any]) -> str:
    """Return a job's throughput as a line: ours eagerly, then others with how much faster they are."""
    rates = row["clips_per_s"]
    others = [
        f"{rates[who]:.4g} ({row[f'{who}_ratio']:.2f} x)" if who in rates else "" for who in ("compiled", "onnxruntime")
    ]
    return f"| {name} | {size} | {rates['ours']:.4g} ± {row['spread']['ours']:.0%} | {' | '.join(others)} |"


def _loader(name: str, size: str, row: dict[str, Any]) -> str:
    """Return a loader's row as a line: frames a second, and everyone's times beside reading a file whole."""
    others = [f"{row[f'{who}_ratio']:.2f}" if f"{who}_ratio" in row else "" for who in ("pyav", "decord", "torchcodec")]
    return (
        f"| {name} ({row['loader']}) | {size} | {row['frames_per_s']['ours']:.4g} ± {row['spread']['ours']:.0%} | "
        f"**{row['ratio']:.2f}** | {' | '.join(others)} | {row['over_floor']:.2f} |"
    )


def aot_table(record: dict[str, Any]) -> str:
    """Return the ahead-of-time record as a table: a line a kernel, the worst over shapes and types of each target."""
    rows = record["rows"]
    targets = sorted({r["target"] for r in rows}, key=lambda t: int(t.removeprefix("sm_")))
    lines = [
        f"| kernel | rows | {' | '.join(targets)} | stack, spills | 16-byte x and y |",
        f"|---|---|{'---|' * len(targets)}---|---|",
    ]
    for op, kernel in sorted({(r["op"].removesuffix("_backward"), r["kernel"]) for r in rows}):
        mine = [r for r in rows if (r["op"].removesuffix("_backward"), r["kernel"]) == (op, kernel)]
        cells = []
        for target in targets:
            here = [r for r in mine if r["target"] == target and "registers" in r]
            shared = max((r["shared_bytes"] for r in here), default=0) / 1024
            cells.append(f"{max(r['registers'] for r in here)} / {shared:.0f}" if here else "not meant for it")
        spilled = max(max(r.get("stack", 0), r.get("spills", 0)) for r in mine)
        told = {r.get("wide") for r in mine} - {None}
        wide = "none marked" if not told else "**no**" if False in told else "yes"
        lines.append(f"| {op}: {kernel} | {len(mine)} | {' | '.join(cells)} | {spilled or 'none'} | {wide} |")
    about = record["about"]
    return "\n".join(
        [
            *lines,
            "",
            f"Registers a thread / KiB of shared memory a block, the most over {len(rows)} rows; Triton "
            f"{about['triton']}, {about['date']}, without a GPU. `python -m diffsda.bench.aot` makes it anew.",
        ]
    )


def kernels_table(record: dict[str, Any]) -> str:
    """Return a GPU record's goals as a table: wanted, measured, met or by how much missed."""
    lines = ["| goal | wanted | measured | |", "|---|---|---|---|"]
    for verdict in goals.verdicts(record["rows"]):
        goal, found = verdict.goal, verdict.found
        wanted = f"{'>=' if goal.higher else '<='} {goals.number(goal.goal, goal)}"
        got = f"{goals.number(found.value, goal)} ({found.where})" if found else "-"
        words = f"**{verdict.words}**" if verdict.met is False else verdict.words
        lines.append(f"| {goal.words} | {wanted} | {got} | {words} |")
    about, ceilings = record["about"], record["ceilings"]
    where = (
        f"{about['gpu']}, torch {about['torch']}, triton {about['triton']}, commit {about['commit']}, {about['date']}"
    )
    copy, product = ceilings["copy_bytes_per_s"] / 1e12, ceilings["matmul_flops_per_s"] / 1e12
    measured = f"copy {copy:.2f} TB/s and bf16 matmul {product:.0f} TFLOP/s in the same run"
    partial = "; time was over before all rows were measured" if record["partial"] else ""
    return "\n".join([*lines, "", f"{where}; {measured}{partial}. `make gpu` makes it anew."])


def network_table(record: dict[str, Any]) -> str:
    """Return a GPU record of the networks as its goals, its rows, and the longest kernels."""
    lines = ["| goal | wanted | measured | |", "|---|---|---|---|"]
    for verdict in network_goals.verdicts(record):
        wanted, got = network_goals.shown(verdict)
        words = f"**{verdict.words}**" if verdict.met is False else verdict.words
        lines.append(f"| {verdict.goal.words} | {wanted} | {got} | {words} |")
    lines += ["", "| case | who | ms | by ours | TFLOP/s |", "|---|---|---|---|---|"]
    for row in record["rows"]:
        if "milliseconds" in row:
            rate = f"{row['flops_per_s'] / 1e12:.0f}"
            by = f"{row['by_anchor']:.2f} x {row['anchor']}" if "anchor" in row else ""
            lines.append(f"| {row['case']} | {row['peer']} | {row['milliseconds']:.3f} | {by} | {rate} |")
    about, ceilings = record["about"], record["ceilings"]
    copy, product = ceilings["copy_bytes_per_s"] / 1e12, ceilings["matmul_flops_per_s"] / 1e12
    measured = f"copy {copy:.2f} TB/s and bf16 matmul {product:.0f} TFLOP/s in the same run"
    where = f"{about['preset']} on {about['gpu']}, torch {about['torch']}, commit {about['commit']}, {about['date']}"
    partial = "; time was over before all rows were measured" if record["partial"] else ""
    return "\n".join([*lines, "", f"{where}; {measured}{partial}. `make gpu-network` makes it anew."])


def newest(folder: Path, pattern: str) -> dict[str, Any] | None:
    """Return the newest record that matches, by date in its name."""
    found = sorted(folder.glob(pattern), key=lambda p: p.name)
    return json.loads(found[-1].read_text()) if found else None


def fill(text: str, name: str, table: str) -> str:
    """Put a table between its markers.

    Raises: InputError if the markers are not there.
    """
    begin, end = f"<!-- table:{name} -->", f"<!-- /table:{name} -->"
    if begin not in text or end not in text:
        raise InputError(f"README: got no {begin} ... {end}, expected the place for the table")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", text)


def main(path: str) -> int:
    """Fill the tables of a README; a table without a record says so."""
    text = Path(path).read_text()
    demo = newest(records_folder(), "demo.json")
    bench = [r for n in (2, 1) if (r := newest(records_folder(), f"*/threads-{n}-*.json")) is not None]
    text = fill(text, "demo", demo_table(demo) if demo else "No record yet: `make demo-table` makes one.")
    text = fill(text, "bench", bench_table(bench) if bench else "No record yet: `make bench` makes one.")
    aot, gpu = newest(records_folder(), "aot/*.json"), newest(records_folder(), "*/20??-??-??-*.json")
    network = newest(records_folder(), "*/network-20??-??-??-*.json")
    # A README may do without these.
    for name, table in (
        ("aot", aot_table(aot) if aot else "No record yet: `python -m diffsda.bench.aot` makes one."),
        ("kernels", kernels_table(gpu) if gpu else "No record yet: `make gpu` makes one on a GPU host."),
        (
            "network",
            network_table(network) if network else "No record yet: `make gpu-network` makes one on a GPU host.",
        ),
    ):
        if f"<!-- table:{name} -->" in text:
            text = fill(text, name, table)
    atomic_write(path, lambda file: file.write(text.encode()))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
