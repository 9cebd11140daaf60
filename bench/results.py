"""Write docs/results.md from the stored results of real data: no number there without a file behind it.

``python -m diffsda.bench.results docs/results.md``. A set's folder in bench/records/results/ holds ``about.json``
(title, words, the commands that made it, how it was trained, goals) and what `diffsda evaluate` wrote; one in
bench/records/compare/ the compare.json that `diffsda compare` wrote, beside an about.json of its own.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.bench.cases import records_folder
from diffsda.compare.record import NAME as COMPARED
from diffsda.compare.record import Comparison
from diffsda.compare.table import caption, notes, table, trials
from diffsda.errors import DiffSDAError, InputError
from diffsda.evaluate.record import Result, number
from diffsda.evaluate.result import Row

OPENING = """# Results on real data

Written by `python -m diffsda.bench.results docs/results.md` from `bench/records/results/`; every number is in a file
there, with the digests of model and clips it was measured on. Values are means over the seeds named; intervals are 95 %
(Student's t) over them. Rows in italics are baselines: what the same protocol gives without a model. Judges marked
*substitute* are not the papers', so their values are on another scale than the papers' rows.
"""


@dataclass(frozen=True)
class Goal:
    """A number a result is held against."""

    protocol: str
    metric: str
    words: str
    goal: float
    higher: bool
    result: str = ""
    """The result's file without its ending, where several of the set have such a row."""

    def met(self, row: Row) -> bool:
        """Tell whether a row's mean is on the good side; NaN never is."""
        return row.mean >= self.goal if self.higher else row.mean <= self.goal


SHAPES: dict[str, tuple[type, str]] = {
    "title": (str, "text"),
    "words": (list, "a list of lines"),
    "commands": (list, "a list of lines"),
    "order": (int, "a whole number"),
    "trained": (dict, "a table of words"),
    "goals": (list, "a list of goals"),
    "captions": (dict, "words by result"),
    "show": (dict, "metrics by result"),
    "notes": (list, "a list of lines"),
}
"""What about.json may hold; the first three it must."""


OURS = "diffsda"
FIRST = {"joint_accuracy": "joint swap accuracy", "eer_gap": "EER gap"}
"""What the goal of comparisons is about: column, and its words."""
LEAST = 2
"""Sets on which DiffSDA is to be first in all of them that are defined there."""
COMPARISONS = """## Systems beside each other

Written from `bench/records/compare/`, where `diffsda compare` left a record a set: the same clips, pairs, judges, seeds
and budget for all systems.
"""


def page(folder: Path, compared: Path | None = None) -> str:
    """Return the whole page from a folder of sets, and one of comparisons where there are any.

    Raises: InputError if there is no set, or a file is not usable.
    """
    parts = _sets(folder)
    if not parts:
        raise InputError(f"{folder}: holds no set with an about.json, expected results of `diffsda evaluate`")
    together = comparisons(compared) if compared is not None else []
    return "\n".join([OPENING, *(section(one, about) for one, about in parts), *together])


def comparisons(folder: Path) -> list[str]:
    """Return the lines of the comparisons: whether DiffSDA is first, then each set's words and table; none without one.

    Raises: InputError if a file is not usable.
    """
    held = [(one, about, Comparison.read(one / COMPARED)) for one, about in _sets(folder)]
    if not held:
        return []
    lines = [COMPARISONS, *firsts([(about["title"], made) for _, about, made in held])]
    for one, about, made in held:
        lines += [f"### {about['title']}", "", *about["words"], "", "```sh", *about["commands"], "```", ""]
        lines += [caption(made), "", table(made), *notes(made)]
        if (one / "compare.png").is_file():
            lines += [f"![The same swaps by every system](../bench/records/compare/{one.name}/compare.png)", ""]
        lines += [*trials(made), *about.get("notes", []), ""]
    return lines


def firsts(held: list[tuple[str, Comparison]]) -> list[str]:
    """Say on which sets DiffSDA has the best mean of all systems, and whether these are enough."""
    lines = [f"| set | {' | '.join(f'first in {words}' for words in FIRST.values())} |", "| --- | --- | --- |"]
    won = 0
    for title, made in held:
        found = {metric: made.first(metric) for metric in FIRST}
        defined = [name for name in found.values() if name is not None]
        won += bool(defined) and all(name and made.system_of(name) == OURS for name in defined)
        words = ["not defined" if name is None else name or "shared" for name in found.values()]
        lines.append(f"| {title} | {' | '.join(words)} |")
    goal = f"DiffSDA first in {' and in '.join(FIRST.values())}, as far as they are defined, on at least {LEAST} sets"
    return [*lines, "", f"{goal}: {won} of {len(held)}, {'met' if won >= LEAST else '**missed**'}.", ""]


def _sets(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the folders with an about.json, in their order."""
    found = sorted(path.parent for path in folder.glob("*/about.json"))
    return sorted((_about(one) for one in found), key=lambda pair: pair[1].get("order", 99))


def section(folder: Path, about: dict[str, Any]) -> str:
    """Return one set's part: words, commands, goals, tables."""
    results = {path.stem: Result.read(path) for path in sorted(folder.glob("*.json")) if path.name != "about.json"}
    try:
        goals = [Goal(**{**goal, "goal": float(goal["goal"])}) for goal in about.get("goals", [])]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / 'about.json'}: got goals that are not usable ({error!r}), expected protocol, metric, words, "
            "goal (a number), higher (true or false) of each"
        ) from None
    lines = [f"## {about['title']}", "", *about["words"], "", "```sh", *about["commands"], "```", ""]
    if trained := about.get("trained"):
        lines += ["| training | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in trained.items()), ""]
    if goals:
        lines += [
            "| goal | | measured | |",
            "| --- | --- | --- | --- |",
            *(_line(goal, results, folder) for goal in goals),
        ]
        lines += [""]
    for name, result in results.items():
        words = about.get("captions", {}).get(name, result.about)
        seeds = ", ".join(map(str, result.seeds))
        models = len(result.provenance.get("models", [None]))
        many = f", {models} models" if models > 1 else ""
        shown = about.get("show", {}).get(name)
        rows = [row for row in result.rows if shown is None or row.metric in shown]
        part = "" if len(rows) == len(result.rows) else f" The rest is in `{folder.name}/{name}.json`."
        table = dataclasses.replace(result, rows=rows).table()
        lines += [f"### {name}", "", f"{words[:1].upper()}{words[1:]}. Seeds {seeds}{many}.{part}", "", table]
    if notes := about.get("notes"):
        lines += [*notes, ""]
    return "\n".join(lines)


def _line(goal: Goal, results: dict[str, Result], folder: Path) -> str:
    found = {
        name: [row for row in result.rows if row.metric == goal.metric and not row.baseline]
        for name, result in results.items()
        if result.protocol == goal.protocol and goal.result in ("", name)
    }
    found = {name: rows for name, rows in found.items() if rows}
    if len(found) > 1:
        raise InputError(
            f"{folder / 'about.json'}: goal {goal.metric}: {', '.join(found)} have such a row, expected one of them "
            "as the goal's result"
        )
    rows = [row for rows in found.values() for row in rows]
    sign = "\u2265" if goal.higher else "\u2264"
    bound = f"{sign} {number(goal.goal)}"
    if not rows:
        return f"| {goal.words} | {bound} | not measured | |"
    row = rows[0]
    value = "\u2013" if math.isnan(row.mean) else number(row.mean)
    return f"| {goal.words} | {bound} | {value} | {'met' if goal.met(row) else '**missed**'} |"


def _about(folder: Path) -> tuple[Path, dict[str, Any]]:
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'about.json'}: cannot be read ({error})") from None
    if not isinstance(about, dict):
        raise InputError(f"{folder / 'about.json'}: got {type(about).__name__}, expected a table of settings")
    for name, (kind, words) in SHAPES.items():
        if not isinstance(about.get(name, kind()), kind) or (name in list(SHAPES)[:3] and name not in about):
            raise InputError(f"{folder / 'about.json'}: {name}: got {about.get(name)!r}, expected {words}")
    return folder, about


def main(arguments: list[str] | None = None) -> int:
    """Write the page to the file that is named."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) != 1:
        print("usage: python -m diffsda.bench.results FILE.md", file=sys.stderr)
        return 2
    try:
        text = page(records_folder() / "results", records_folder() / "compare")
        atomic_write(words[0], lambda file: file.write(text.encode()))
    except DiffSDAError as error:
        print(f"results: error: {error}", file=sys.stderr)
        return error.exit_code
    print(words[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
