"""The kernels' goals, and what a record says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What rows say of a goal: its value, the case it comes from, the milliseconds of that."""

    value: float
    where: str
    milliseconds: float


Value = Callable[[Sequence[Row]], Found | None]


@dataclass(frozen=True)
class Goal:
    """A number to reach, from below when ``higher``; the stretch goal may be a time instead."""

    name: str
    words: str
    goal: float
    stretch: float | None
    unit: str
    higher: bool
    value: Value
    stretch_milliseconds: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What a record says of a goal; ``found`` is None without a record."""

    goal: Goal
    found: Found | None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None if nothing is known."""
        return None if self.found is None else self._reaches(self.goal.goal, self.found.value)

    @property
    def words(self) -> str:
        """Met, met with the stretch goal, or by how much it is missed."""
        if self.found is None:
            return "no record"
        goal, value = self.goal, self.found.value
        if not self.met:
            return f"missed by {max(abs(value / goal.goal - 1), 0.001):.1%}"
        beyond = goal.stretch is not None and self._reaches(goal.stretch, value)
        limit = goal.stretch_milliseconds
        beyond = beyond or (limit is not None and self.found.milliseconds <= limit)
        return "met, with the stretch goal" if beyond else "met"

    def _reaches(self, goal: float, value: float) -> bool:
        return value >= goal if self.goal.higher else value <= goal


OURS = ("ours", "gluon")
"""Peers that are kernels of this project: where there are two, the faster one counts."""


def measured(rows: Sequence[Row], goal: str, peers: Sequence[str] = OURS, timing: str = "cold") -> list[Row]:
    """Return the rows of a goal that are speeds, one a case."""
    fastest: dict[Any, Row] = {}
    for row in rows:
        if goal in row.get("goals", ()) and row["peer"] in peers and row.get("timing") == timing:
            known = fastest.get(_case(row))
            if known is None or row["milliseconds"] < known["milliseconds"]:
                fastest[_case(row)] = row
    return list(fastest.values())


def _case(row: Row) -> tuple[str, ...]:
    return row["op"], row["case"], row["dtype"], row["direction"]


def _worst_share(goal: str) -> Value:
    def value(rows: Sequence[Row]) -> Found | None:
        worst = min(measured(rows, goal), key=lambda r: r["share"], default=None)
        return Found(worst["share"], worst["case"], worst["milliseconds"]) if worst else None

    return value


def _weighted(goal: str) -> Value:
    """All sites of a net together: useful bytes by time, each as often as it occurs."""

    def value(rows: Sequence[Row]) -> Found | None:
        found = measured(rows, goal)
        if {_case(r) for r in rows if goal in r.get("goals", ())} != {_case(r) for r in found} or not found:
            return None  # A share of some of the sites would flatter.
        time = sum(r["count"] * r["milliseconds"] for r in found)
        ideal = sum(r["count"] * r["milliseconds"] * r["share"] for r in found)
        return Found(ideal / time, f"{sum(r['count'] for r in found)} sites", time)

    return value


def _against(goal: str, peer: str, timing: str) -> Value:
    """The worst ratio of our time to a peer's on the same case."""

    def value(rows: Sequence[Row]) -> Found | None:
        theirs = {_case(r): r for r in measured(rows, goal, (peer,), timing)}
        pairs = [
            Found(r["milliseconds"] / theirs[_case(r)]["milliseconds"], r["case"], r["milliseconds"])
            for r in measured(rows, goal, timing=timing)
            if _case(r) in theirs
        ]
        return max(pairs, key=lambda f: f.value, default=None)

    return value


def _microseconds(goal: str) -> Value:
    def value(rows: Sequence[Row]) -> Found | None:
        found = measured(rows, goal, timing="graph")
        worst = max(found, key=lambda r: r["milliseconds"], default=None)
        return Found(1e3 * worst["milliseconds"], worst["case"], worst["milliseconds"]) if worst else None

    return value


def _over_compiled(rows: Sequence[Row]) -> Found | None:
    """The worst gain over the compiled reference, of every operation and case where that works."""
    worst = min((r for r in rows if "ratio" in r), key=lambda r: r["ratio"], default=None)
    if worst is None:
        return None
    where = "{op} {case} {dtype} {direction} ({timing})".format(**worst)
    return Found(worst["ratio"], where, worst["ours_milliseconds"])


GOALS = (
    Goal("gn_forward", "group_norm + modulation + SiLU forward, 60 MB and more", 0.92, 0.96, "of copy", True,
         _worst_share("gn_forward")),
    Goal("gn_backward", "group_norm backward, same tensors (6 B an element)", 0.86, 0.90, "of copy", True,
         _worst_share("gn_backward")),
    Goal("gn_sites", "group_norm forward over all norm sites of voxceleb, 160 frames", 0.85, 0.90, "of copy", True,
         _weighted("gn_sites")),
    Goal("gn_small", "norm sites with H·W <= 64, against the copy kernel", 1.5, 1.2, "x its time", False,
         _against("gn_small", "copy", "graph")),
    Goal("heun_step", "heun + precondition, 160 frames, a step in a graph", 4.0, None, "us", False,
         _microseconds("heun_step")),
    Goal("attention", "attention (160, 1, 64, 384), against a copy of q, k, v, o", 1.5, None, "x its time", False,
         _against("attention", "copy", "graph"), stretch_milliseconds=0.009),
    Goal("adamw", "adamw + clip + EMA + cast, 215 M parameters", 0.85, None, "of copy", True,
         _worst_share("adamw"), stretch_milliseconds=1.95),
    Goal("compile", "every operation against torch.compile of its reference", 1.25, None, "x faster", True,
         _over_compiled),
)  # fmt: skip


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Return what the rows say of every goal."""
    return [Verdict(goal, goal.value(rows)) for goal in GOALS]


def number(value: float, goal: Goal) -> str:
    """Return a goal's number as a person reads it."""
    return f"{value:.1%}" if goal.unit == "of copy" else f"{value:.2f} {goal.unit}"


def summary(record: dict[str, Any]) -> str:
    """Return ceilings, tests, wrong and failed rows and the goals as a page of text."""
    lines = []
    if record["ceilings"]:
        copy, product = (record["ceilings"][k] for k in ("copy_bytes_per_s", "matmul_flops_per_s"))
        lines.append(f"copy {copy / 1e12:.2f} TB/s | bf16 matmul {product / 1e12:.0f} TFLOP/s")
    tests = record["tests"]
    if tests:
        counted = ", ".join(f"{tests[k]} {k}" for k in ("passed", "failed", "skipped") if k in tests)
        lines.append(
            f"tests: {counted or tests.get('skipped_because', '')}{' (time over)' if tests.get('late') else ''}"
        )
        lines += [f"  FAILED {name}" for name in tests.get("names", ())]
    rows = record["rows"]
    name = "{op}/{case} {dtype} {direction} {peer}".format
    lines += [f"  WRONG {name(**r)}: error {r['error']:.1e}" for r in rows if r.get("wrong")]
    lines += [f"  FAILED {name(**r)}: {r['failed'][:160]}" for r in rows if "failed" in r]
    lines.append(f"{len([r for r in rows if 'milliseconds' in r])} rows")
    for v in verdicts(rows):
        wanted = f"{'>=' if v.goal.higher else '<='} {number(v.goal.goal, v.goal)}"
        got = number(v.found.value, v.goal) if v.found else "-"
        where = f"({v.found.where}, {v.found.milliseconds:.4g} ms)" if v.found else ""
        lines.append(f"{v.goal.words:70} {wanted:>18} {got:>16}  {v.words} {where}".rstrip())
    return "\n".join(lines)
