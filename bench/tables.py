"""Write the README's tables from the records: no number there without a file behind it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
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


def bench_table(record: dict[str, Any]) -> str:
    """Return a bench record as a table of ratios."""
    lines = [
        "| what / preset | clips x frames | published / ours | ours / floor |",
        "|---|---|---|---|",
    ]
    for name, row in record["rows"].items():
        floor = row["ours_s"] / row["floor_s"]
        size = f"{row['batch']} x {row['frames']}"
        lines.append(f"| {name} | {size} | **{row['ratio']:.2f}** | {floor:.2f} |")
    about = record["about"]
    where = f"{about['device']}, {about['threads']} threads, torch {about['torch']}, {about['date']}"
    return "\n".join([*lines, "", f"Side by side in one run on {where}; `make bench` makes it anew."])


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
    demo, bench = newest(records_folder(), "demo.json"), newest(records_folder(), "*/spine-*.json")
    text = fill(text, "demo", demo_table(demo) if demo else "No record yet: `make demo-table` makes one.")
    text = fill(text, "bench", bench_table(bench) if bench else "No record yet: `make bench` makes one.")
    atomic_write(path, lambda file: file.write(text.encode()))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
