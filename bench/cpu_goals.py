"""The goals of the networks on a CPU, two threads, and what a record of ``make bench`` says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffsda.bench.goals import Found, Goal, Row, Value, Verdict

NEAR_FLOOR = ("physionet", "timit", "etth1", "video32")
TRAINED = ("physionet", "etth1", "airq")
PUBLISHED_BY_OURS = {"physionet": 2.9, "timit": 2.9, "etth1": 4.9, "video32": 1.3}
"""Where 1.25 times the floor lies from the published execution, as measured once; the floor binds."""


def _worst(what: str, names: tuple[str, ...], key: str, *, higher: bool) -> Value:
    """The worst of some rows; nothing if one of them is missing, as the others would flatter."""

    def value(rows: Any) -> Found | None:
        found = [
            (rows[f"{what}/{n}"][key], n, 1e3 * rows[f"{what}/{n}"]["ours_s"]) for n in names if f"{what}/{n}" in rows
        ]
        if len(found) < len(names):
            return None
        return Found(*(min if higher else max)(found))

    return value


def _goals() -> tuple[Goal, ...]:
    near = [
        Goal(f"floor_{n}", f"63-evaluation sample of {n}, by its floor", 1.25, None, "x its time", False,
             _worst("sample", (n,), "over_floor", higher=False))
        for n in NEAR_FLOOR
    ]  # fmt: skip
    ratio = [
        Goal(f"published_{n}", f"63-evaluation sample of {n}, against the published execution", wanted, None,
             "x faster", True, _worst("sample", (n,), "ratio", higher=True))
        for n, wanted in PUBLISHED_BY_OURS.items()
    ]  # fmt: skip
    train = [
        Goal(f"train_{n}", f"training step of {n}, against the published execution", 3.0, None, "x faster", True,
             _worst("train", (n,), "ratio", higher=True))
        for n in TRAINED
    ]  # fmt: skip
    encode = Goal("encode", "encode, every preset, against the published execution", 1.0, None, "x faster", True,
                  _worst("encode", (*NEAR_FLOOR, "tiny_video"), "ratio", higher=True))  # fmt: skip
    return (*near, *ratio, *train, encode)


GOALS = _goals()


def verdicts(rows: Mapping[str, Row]) -> list[Verdict]:
    """Return what the rows of a record say of every goal."""
    return [Verdict(goal, goal.value(rows)) for goal in GOALS]


def summary(rows: Mapping[str, Row]) -> str:
    """Return the goals as lines of text: wanted, measured, met or by how much missed."""
    lines = []
    for verdict in verdicts(rows):
        wanted, got, where = shown(verdict)
        lines.append(f"{verdict.goal.words:66} {wanted:>16} {got:>12}  {verdict.words} {where}".rstrip())
    return "\n".join(lines)


def shown(verdict: Verdict) -> tuple[str, str, str]:
    """Return what is wanted, what was measured and where, as a person reads them."""
    goal, found = verdict.goal, verdict.found
    wanted = f"{'>=' if goal.higher else '<='} {goal.goal:g} {goal.unit}"
    if found is None:
        return wanted, "-", ""
    return wanted, f"{found.value:.2f}", f"({found.where}, {found.milliseconds:.4g} ms)"
