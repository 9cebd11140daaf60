"""The table's columns: which quantity of which protocol, and what is put together of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffsda.evaluate.result import NAN, Row


@dataclass(frozen=True)
class Column:
    """A quantity in the table."""

    protocol: str
    metric: str
    words: str
    by_policy: bool = False
    """Whether it is measured from other start noises as well."""


COLUMNS = (
    Column("swap-labels", "static_accuracy", "static swap accuracy", True),
    Column("swap-labels", "dynamic_accuracy", "dynamic swap accuracy", True),
    Column("swap-labels", "joint_accuracy", "joint swap accuracy", True),
    Column("swap-labels", "swap_mse", "error against the true swap", True),
    Column("swap-labels", "static_from_d", "static labels told from d"),
    Column("swap-labels", "dynamic_from_s", "dynamic labels told from s"),
    Column("eer", "eer_static", "static EER"),
    Column("eer", "eer_dynamic", "dynamic EER"),
    Column("eer", "eer_gap", "EER gap"),
    Column("reconstruction", "mse_fresh_noise", "reconstruction error, factors alone"),
    Column("reconstruction", "mse", "reconstruction error, own start noise"),
    Column("verification", "verification_static_frozen", "verified with s kept", True),
    Column("verification", "action_accuracy_dynamics_frozen", "action with d kept", True),
    Column("verification", "aed_static_frozen", "AED with s kept", True),
    Column("verification", "akd_dynamics_frozen", "AKD with d kept", True),
)
"""In the table's order."""
POLICIES = ("fresh", "dynamic", "static", "shared")
PUT_TOGETHER = {"static_from_d": "_from_frames", "dynamic_from_s": "_from_s"}
"""Column of leakage: how the rows end that it is the mean of; of those only what should not be told."""

BASELINE_OF = {"mse_fresh_noise": "mse"}
"""Column whose baselines are another's: without a model nothing starts from noise."""


def row_of(rows: Mapping[str, Sequence[Row]], column: Column, policy: str | None = None) -> Row | None:
    """Return a model's row of a column, for another start noise where named; None where there is none."""
    held = [row for row in rows.get(column.protocol, ()) if not row.baseline]
    if policy is None and column.metric in PUT_TOGETHER:
        return _mean(
            column, [r for r in held if r.metric.endswith(PUT_TOGETHER[column.metric]) and r.better == "lower"]
        )
    metric = column.metric if policy is None else f"{column.metric}_{policy}_noise"
    return next((row for row in held if row.metric == metric), None)


def baselines(rows: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, Row]]:
    """Return rows that are no model's, by what they are and by metric: chance, a donor handed back, raw features."""
    out: dict[str, dict[str, Row]] = {}
    for column in COLUMNS:
        held = [row for row in rows.get(column.protocol, ()) if row.baseline]
        for row in held:
            if row.metric == BASELINE_OF.get(column.metric, column.metric) and not math.isnan(row.mean):
                out.setdefault(row.about.split("; ")[-1] or "baseline", {})[column.metric] = row
        if column.metric in PUT_TOGETHER:
            told = row_of(rows, column)
            names = set() if told is None else set(told.about.split(", "))
            chance = [row for row in held if row.metric.removesuffix("_told") in names]
            if chance:
                # The commonest class of every label is as good a guess without a factor.
                out.setdefault("the commonest class", {})[column.metric] = _mean(column, chance) or chance[0]
    return out


def _mean(column: Column, rows: Sequence[Row]) -> Row | None:
    """Return the mean over labels, value by value; its ``about`` names the labels."""
    if not rows:
        return None
    ends = (PUT_TOGETHER[column.metric], "_told")
    names = [next(row.metric.removesuffix(end) for end in ends if row.metric.endswith(end)) for row in rows]
    values = [sum(held) / len(rows) for held in zip(*(row.values for row in rows), strict=True)]
    first = rows[0]
    return Row(
        metric=column.metric,
        values=tuple(values) or (NAN,),
        unit=first.unit,
        better="lower",
        about=", ".join(names),
        count=first.count,
        baseline=first.baseline,
        reason=next((row.reason for row in rows if row.reason), ""),
        models=first.models,
    )
