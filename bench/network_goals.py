"""The goals of the whole networks on one H200, and what a record of ``make gpu-network`` says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from diffsda.bench.goals import Found, Goal, Row, Value, Verdict
from diffsda.bench.network_cases import COMPILE, FIXED_COMPILED, FIXED_TUNED, FLOOR, FLOOR_TUNED, INFER, OURS, PUBLISHED
from diffsda.bench.network_cases import PACKAGE as PACKAGED
from diffsda.bench.pixels import CASE

COMPILED_THEIRS = (FIXED_COMPILED, FIXED_TUNED)
FLOORED = (FLOOR, FLOOR_TUNED)


def _timed(rows: Sequence[Row], case: str, peers: Sequence[str]) -> list[Row]:
    return [r for r in rows if r["case"] == case and r["peer"] in peers and "milliseconds" in r]


def ours(rows: Sequence[Row], case: str) -> Row | None:
    """Return the fastest of our routes in a case.

    Those that ran beside the anchor in another process are taken at its first time there, multiplied.
    """
    anchors: dict[str, float] = {}
    for r in _timed(rows, case, OURS):
        if r["peer"] == r["anchor"]:
            anchors.setdefault(r["anchor"], r["milliseconds"])
    found = [
        r | {"milliseconds": r["by_anchor"] * anchors[r["anchor"]]}
        for r in _timed(rows, case, OURS)
        if r["anchor"] in anchors
    ]
    return min(found, key=lambda r: r["milliseconds"], default=None)


def _milliseconds(case: str) -> Value:
    def value(rows: Sequence[Row]) -> Found | None:
        row = ours(rows, case)
        return None if row is None else Found(row["milliseconds"], row["peer"], row["milliseconds"])

    return value


def _throughput(case: str) -> Value:
    def value(rows: Sequence[Row]) -> Found | None:
        row = ours(rows, case)
        if row is None:
            return None
        # Clips a second of the fastest route, at the time it is given above.
        clips = next(r["clips_per_s"] * r["milliseconds"] for r in _timed(rows, case, (row["peer"],)))
        return Found(clips / row["milliseconds"], row["peer"], row["milliseconds"])

    return value


def _against(case: str, peers: Sequence[str], *, inverse: bool = False) -> Value:
    """The fastest of some peers by ours (ours by it when ``inverse``), both by the anchor of the same rounds."""

    def value(rows: Sequence[Row]) -> Found | None:
        mine = ours(rows, case)
        theirs = [r for r in _timed(rows, case, peers) if mine is not None and r.get("anchor") == mine["anchor"]]
        fastest = min(theirs, key=lambda r: r["by_anchor"], default=None)
        if fastest is None or mine is None:
            return None
        ratio = fastest["by_anchor"] / mine["by_anchor"]
        where = f"{mine['peer']} by {fastest['peer']}" if inverse else f"{fastest['peer']} by {mine['peer']}"
        return Found(1 / ratio if inverse else ratio, where, mine["milliseconds"])

    return value


def _utilisation(rows: Sequence[Row], rate: float | None) -> Found | None:
    row = ours(rows, "train/16")
    if row is None or not rate:
        return None
    return Found(100 * row["flops"] / (row["milliseconds"] * 1e-3) / rate, row["peer"], row["milliseconds"])


def _worst(case: str, key: str, scale: float = 1.0, peers: Sequence[str] = OURS) -> Value:
    """The largest value of a column; nothing without a row."""

    def value(rows: Sequence[Row]) -> Found | None:
        here = [r for r in rows if r["case"] == case and r["peer"] in peers and r.get(key) is not None]
        worst = max(here, key=lambda r: r[key], default=None)
        return Found(worst[key] * scale, worst["peer"], 0.0) if worst else None

    return value


GB = 1e-9


def _most(case: str, peer: str, key: str, scale: float = 1.0) -> Value:
    """The largest value of a column over the cases whose names begin so; nothing without a row."""

    def value(rows: Sequence[Row]) -> Found | None:
        here = [r for r in rows if r["case"].startswith(case) and r["peer"] == peer and r.get(key) is not None]
        best = max(here, key=lambda r: r[key], default=None)
        return Found(scale * best[key], best["case"], 0.0) if best else None

    return value


GOALS = (
    Goal("evaluation_1", "evaluation of 1 frame", 0.80, 0.60, "ms", False, _milliseconds("evaluation/1")),
    Goal("evaluation_16", "evaluation of 16 frames", 1.5, 1.25, "ms", False, _milliseconds("evaluation/16")),
    Goal("evaluation_160", "evaluation of 160 frames", 10.6, 9.4, "ms", False, _milliseconds("evaluation/160")),
    Goal("floor_160", "evaluation of 160 frames, by its convolutions alone", 1.12, 1.05, "x", False,
         _against("evaluation/160", FLOORED, inverse=True)),
    Goal("compile_160", "evaluation of 160 frames, torch.compile of the published network by ours", 1.25, None, "x",
         True, _against("evaluation/160", COMPILED_THEIRS)),
    Goal("sample_16", "63-evaluation samples, 16 clips", 22, 26, "clips/s", True, _throughput("sample/16")),
    Goal("sample_16_published", "the same, published execution by ours", 3, None, "x", True,
         _against("sample/16", (PUBLISHED,))),
    Goal("sample_16_compiled", "the same, published + bf16 + channels_last + compile by ours", 1.3, None, "x", True,
         _against("sample/16", COMPILED_THEIRS)),
    Goal("sample_1", "63-evaluation sample of 1 clip", 75, 60, "ms", False, _milliseconds("sample/1")),
    Goal("sample_1_published", "the same, published execution by ours", 8, None, "x", True,
         _against("sample/1", (PUBLISHED,))),
    Goal("pixels", "pixels to pixels by infer: encode, swap, decode, written", 16, 19, "clips/s", True,
         _worst(CASE, "clips_per_s", peers=(INFER,))),
    Goal("pixels_idle", "the same, share of time without work on the GPU", 2, None, "%", False,
         _worst(CASE, "idle_share", 100.0, peers=(INFER,))),
    Goal("loader", "frames out of 256-pixel videos, decoded on the device", 2200, 5000, "frames/s", True,
         _most("loader/", "dali_cuda", "frames_per_s")),
    Goal("loader_decoders", "the same, video decoders in use (5 of 7)", 71, None, "%", True,
         _most("loader/", "dali_cuda", "decoders_percent")),
    Goal("loader_slowdown", "the same, matrix products beside it, longer by", 3, None, "%", False,
         _most("loader/", "dali_cuda", "slowdown", 100)),
    Goal("loader_latents", "cached latents by what a training step eats", 20, None, "x", True,
         _most("loader/latents", "mapped", "times_eaten")),
    Goal("float32", "sample in float32, largest relative error", 1e-4, None, "", False,
         _worst("equality float32", "error")),
    Goal("bf16", "sample in bf16, relative root mean square error", 2e-2, None, "", False,
         _worst("equality bf16", "error")),
    Goal("train", "training step of 16 clips", 75, 66, "ms", False, _milliseconds("train/16")),
    Goal("train_published", "the same, published execution by ours", 3, None, "x", True,
         _against("train/16", (PUBLISHED,))),
    Goal("train_compiled", "the same, published + bf16 + channels_last + compile by ours", 1.3, None, "x", True,
         _against("train/16", COMPILED_THEIRS)),
    Goal("train_utilisation", "the same, share of the measured bf16 matmul rate", 49, 55, "%", True, lambda rows: None),
    Goal("train_memory", "peak memory of training, 16 clips", 13, None, "GB", False,
         _worst("memory train/16", "peak_bytes", GB)),
    Goal("sample_memory", "peak memory of sampling 160 frames", 2, 1.2, "GB", False,
         _worst("memory sample/16", "peak_bytes", GB)),
    Goal("compile_first", "first result of a compiled network, nothing cached", 60, None, "s", False,
         _worst("evaluation/160", "ready_seconds", peers=(COMPILE,))),
    Goal("compile_cached", "first result of a compiled network, compiled before", 10, None, "s", False,
         _worst("ready evaluation/160", "ready_seconds", peers=(COMPILE,))),
    Goal("package_load", "loading a package compiled ahead of time", 2, None, "s", False,
         _worst("evaluation/160", "load_seconds", peers=(PACKAGED,))),
)  # fmt: skip
"""Ratios bind; absolute times are provisional until there is a first record."""


def verdicts(record: dict[str, Any]) -> list[Verdict]:
    """Return what a record says of every goal."""
    rows, rate = record["rows"], record["ceilings"].get("matmul_flops_per_s")
    return [
        Verdict(goal, _utilisation(rows, rate) if goal.name == "train_utilisation" else goal.value(rows))
        for goal in GOALS
    ]


def shown(verdict: Verdict) -> tuple[str, str]:
    """Return what is wanted and what was measured, as a person reads them."""
    goal, found = verdict.goal, verdict.found
    wanted = f"{'>=' if goal.higher else '<='} {goal.goal:g} {goal.unit}".rstrip()
    return wanted, f"{found.value:.3g} {goal.unit} ({found.where})".replace("  ", " ") if found else "-"


def lines(record: dict[str, Any]) -> Iterator[str]:
    """Yield a line a goal."""
    for verdict in verdicts(record):
        wanted, got = shown(verdict)
        yield f"{verdict.goal.words:80} {wanted:>14}  {got:50} {verdict.words}"
