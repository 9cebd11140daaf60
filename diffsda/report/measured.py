"""Results of evaluations as tables: each quantity, what simple answers reach, and what the papers report of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffsda.evaluate.record import ARROWS, Result, interval_of, number
from diffsda.evaluate.result import Row
from diffsda.report.sections import Details, Section, Table, Tagged, Text, Tone

Line = tuple[tuple[object, ...], Tone]
HEAD = ("quantity", "value", "95 % interval", "missed", "over", "judge")


def result_sections(results: Sequence[Result], recipe: str, step: int | None = None) -> list[Section]:
    """Draw a table a result, below one heading; nothing where there are no results.

    recipe, step: of the model the page is about, to say where a result is of something else.
    """
    if not results:
        return []
    sections: list[Section] = [
        Text(
            "Arrows point to the better side. Baselines are what needs no model: chance, copying, raw features, real "
            "clips. A substitute judge stands in for the paper's: its numbers are on another scale and cannot be set "
            "against the papers'. Missed is the share in which a judge found nothing; it is left out of the value.",
            heading="Measured",
        )
    ]
    for result in results:
        sections.append(_table(result))
        if warning := _other(result, recipe, step):
            sections.append(Text(warning))
        sections.append(Details(f"Where these come from: {result.protocol}", (_origin(result),)))
    return sections


def _table(result: Result) -> Table:
    lines: list[Line] = []
    metrics = list(dict.fromkeys(row.metric for row in result.rows))
    known = (str(one.get("metric", "?")) for one in result.published)
    for metric in dict.fromkeys([*metrics, *known]):
        own = [row for row in result.rows if row.metric == metric]
        lines += [_line(row, result.remarks(row)) for row in sorted(own, key=lambda row: row.baseline)]
        lines += _papers(
            [one for one in result.published if str(one.get("metric", "?")) == metric], metric, result.data
        )
    used = [any(line[0][column] != "" for line in lines) for column in range(len(HEAD))]
    return Table(
        tuple(name for name, use in zip(HEAD, used) if use),
        tuple(tuple(cell for cell, use in zip(cells, used) if use) for cells, _ in lines),
        caption=f"{result.protocol}: {result.about} ({result.tables}), on {result.data}; "
        + (f"mean over seeds {', '.join(map(str, result.seeds))}" if len(result.seeds) > 1 else "one seed")
        + "".join(f"; {note}" for note in result.notes),
        tones=tuple(tone for _, tone in lines),
        numbers=HEAD[1:5],
    )


def _line(row: Row, remarks: list[str]) -> Line:
    words = row.about or row.metric.replace("_", " ")
    words += f", {row.unit}" if row.unit else ""
    words += f" {ARROWS[row.better]}" if ARROWS[row.better] else ""
    name = Tagged(words, "baseline" if row.baseline else "", row.metric if row.about else "")
    undefined = row.mean != row.mean
    told = "; ".join(remarks)
    value = Tagged("\u2013", "undefined", told) if undefined else Tagged(number(row.mean), "", told)
    judge: object = row.judge
    if row.substitute:
        judge = Tagged(row.judge or "judge", "substitute")
    missed = "" if row.missed is None else f"{row.missed:.1%}"
    count = "" if row.count is None else f"{row.count:,}"
    return (name, value, interval_of(row), missed, count, judge), "baseline" if row.baseline else ""


def _papers(published: Sequence[dict[str, Any]], metric: str, data: str) -> list[Line]:
    """Return the papers' rows of a metric: one a system where they are of these clips, else one a set."""
    words = metric.replace("_", " ")
    lines: list[Line] = []
    others: dict[tuple[str, str], list[str]] = {}
    for one in published:
        of, system, table = (str(one.get(name, "?")) for name in ("data", "system", "table"))
        if of == data:
            name = Tagged(f"{system}: {words}", "paper")
            lines.append(((name, _number(one), "", "", "", f"Table {table}"), "published"))
        else:
            others.setdefault((of, table), []).append(f"{system} {_number(one)}")
    for (of, table), told in others.items():
        name = Tagged(f"{words} on {of}", "paper, other clips")
        lines.append(((name, Tagged("", "", "; ".join(told)), "", "", "", f"Table {table}"), "published"))
    return lines


def _number(one: dict[str, Any]) -> str:
    value, spread = one.get("value"), one.get("spread")
    told = number(float(value)) if isinstance(value, (int, float)) else "\u2013"
    return f"{told} \u00b1 {number(float(spread))}" if isinstance(spread, (int, float)) else told


def _other(result: Result, recipe: str, step: int | None) -> str:
    """Say so where a result is of another model than the page's."""
    models = result.provenance.get("models")
    known = [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []
    strange = [one for one in known if one.get("recipe") != recipe or None is not one.get("step") != step]
    if not strange:
        return ""
    named = "; ".join(f"recipe {one.get('recipe')}, step {one.get('step')}" for one in strange)
    return f"Mind: {result.protocol} was measured on other weights than this page shows ({named})."


def _origin(result: Result) -> Table:
    rows: list[tuple[object, ...]] = []
    for judge in result.judges:
        words = ", ".join(f"{name} {value}" for name, value in judge.items() if name != "substitute")
        rows.append(("judge", Tagged(words, "substitute" if judge.get("substitute") else "")))
    rows += [(name, value) for name, value in _flat(result.provenance)]
    return Table(("what", "value"), tuple(rows))


def _flat(plain: dict[str, Any], above: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in plain.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{above}{name}.")
        else:
            rows.append((f"{above}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
