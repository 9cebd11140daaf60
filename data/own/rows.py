"""Rows of tables put in order: series by series, by time, each once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffsda.data.check import Array
from diffsda.data.own.cells import numbers, words
from diffsda.data.own.columns import Roles
from diffsda.data.own.table_files import Complaints, Table
from diffsda.data.own.when import when
from diffsda.data.problems import Problems

TAKEN = ("x", "lengths", "mask", "id")
"""Names that a label of one's own cannot have."""
LARGEST = 1e30
"""Size of a number beyond which a model's arithmetic, in float32, is not safe."""


@dataclass(frozen=True)
class Series:
    """One series of a set.

    Shapes: values (T, F) float64, NaN where a value is missing. ``where`` is the file and line it begins on.
    """

    key: str
    values: Array
    labels: dict[str, str]
    where: tuple[str, int]

    def __len__(self) -> int:
        return len(self.values)


@dataclass
class _Rows:
    """Rows of all tables: series (R,) codes into keys, time (R,), values (R, F), words (R,) a column, file and line."""

    series: Array
    keys: list[str]
    time: Array | None
    values: Array
    words: dict[str, tuple[Array, list[str]]]
    file: Array
    line: Array

    def take(self, rows: Array) -> _Rows:
        coded = {name: (codes[rows], found) for name, (codes, found) in self.words.items()}
        time = None if self.time is None else self.time[rows]
        return _Rows(self.series[rows], self.keys, time, self.values[rows], coded, self.file[rows], self.line[rows])


def to_series(tables: Sequence[Table], roles: Roles, problems: Problems, tell: Callable[[str], None]) -> list[Series]:
    """Return the series that tables hold, in the order of their keys' first rows.

    Cells that are no numbers become missing values; rows without id or time, and rows whose id and time were there
    before, are left out: all are noted by file and line. Rows out of order are sorted, uneven steps are told.
    """
    rows = _join([_read(table, roles, problems, tell) for table in tables])
    if not len(rows.series):
        return []
    rows = _in_order(rows, tables, problems, tell)
    if rows.time is not None:
        _tell_steps(rows, tables, tell)
    begins = np.flatnonzero(np.diff(rows.series, prepend=-1))
    ends = [*begins[1:].tolist(), len(rows.series)]
    labels_of = _labels(rows, begins, tables, tell)
    series = []
    for place, (begin, end) in enumerate(zip(begins.tolist(), ends)):
        labels = {name: word for name, words_ in labels_of.items() if (word := words_[place]) is not None}
        where = tables[rows.file[begin]].path, int(rows.line[begin])
        series.append(Series(rows.keys[rows.series[begin]], rows.values[begin:end], labels, where))
    return series


def _read(table: Table, roles: Roles, problems: Problems, tell: Callable[[str], None]) -> tuple[Table, _Rows]:
    complaints = Complaints(table.path, problems)
    values = np.empty((len(table), len(roles.values)))
    for place, name in enumerate(roles.values):
        values[:, place], wrong = numbers(table.rows[name], decimal_comma=table.decimal_comma)
        wrong |= np.abs(values[:, place]) > LARGEST
        values[wrong, place] = np.nan
        for row in np.flatnonzero(wrong):
            cell, line = str(table.rows[name][int(row)].as_py())[:40], int(table.lines[row])
            reason = f"column {name!r} holds {cell!r}, expected a number (to {LARGEST:g}); taken as missing"
            complaints.add(f"column {name!r}", line, reason)
    keep = np.ones(len(table), bool)
    time = None
    if roles.time:
        time, assumed = when(table, roles.time)
        if assumed:
            tell(f"{table.path}: {assumed}")
        keep &= _complain(complaints, table, roles.time, np.isnan(time), "a time")
    if roles.id is None:
        codes, found = np.zeros(len(table), np.int64), [table.name]
    else:
        codes, found = words(table.rows[roles.id])
        keep &= _complain(complaints, table, (roles.id,), codes < 0, "an id")
    complaints.close()
    coded = {name: words(table.rows[name]) for name in roles.words}
    rows = _Rows(codes, found, time, values, coded, np.zeros(len(table), np.int64), table.lines)
    return table, rows.take(np.flatnonzero(keep))


def _complain(complaints: Complaints, table: Table, names: Sequence[str], wrong: Array, what: str) -> Array:
    columns = " and ".join(f"column {name!r}" for name in names)
    for row in np.flatnonzero(wrong):
        cells = " ".join(str(table.rows[name][int(row)].as_py())[:40] for name in names)
        line = int(table.lines[row])
        complaints.add(f"rows without {what}", line, f"{columns} holds {cells!r}, expected {what}; the row is left out")
    return ~wrong


def _labels(
    rows: _Rows, begins: Array, tables: Sequence[Table], tell: Callable[[str], None]
) -> dict[str, list[str | None]]:
    """Return for each column of words that never changes within a series its word for each; the others are told."""
    labels: dict[str, list[str | None]] = {}
    for name, (codes, found) in rows.words.items():
        usual = np.repeat(np.maximum.reduceat(codes, begins), np.diff([*begins, len(codes)]))
        other = np.flatnonzero((codes >= 0) & (codes != usual))
        if len(other):
            where = f"{tables[rows.file[other[0]]].path}:{rows.line[other[0]]}"
            tell(f"left out: column {name!r} holds words that change within a series ({where}), expected numbers")
            continue
        most = usual[begins]
        plain = _plain(name, labels)
        tell(f"label {plain!r}: column {name!r}, of {len(found)} words, one a series")
        labels[plain] = [found[code] if code >= 0 else None for code in most.tolist()]
    return labels


def _plain(column: str, taken: Mapping[str, object]) -> str:
    """Return the name of a column as that of a label: letters, digits and underscores, no name that means more."""
    name = re.sub(r"\W+", "_", column).strip("_") or "label"
    while name in TAKEN or name in taken:
        name += "_"
    return name


def _join(parts: list[tuple[Table, _Rows]]) -> _Rows:
    """Put the rows of all files one after another, with one list of words a column."""
    rows = [part for _, part in parts]
    series, keys = _recode([(part.series, part.keys) for part in rows])
    coded = {name: _recode([part.words[name] for part in rows]) for name in rows[0].words}
    time = None if rows[0].time is None else np.concatenate([part.time for part in rows if part.time is not None])
    file = np.repeat(np.arange(len(rows)), [len(part.series) for part in rows])
    values, line = np.concatenate([part.values for part in rows]), np.concatenate([part.line for part in rows])
    return _Rows(series, keys, time, values, coded, file, line)


def _recode(parts: list[tuple[Array, list[str]]]) -> tuple[Array, list[str]]:
    known: dict[str, int] = {}
    out = []
    for codes, found in parts:
        table = np.array([known.setdefault(word, len(known)) for word in found] + [-1], np.int64)
        out.append(table[codes])
    return np.concatenate(out), list(known)


def _in_order(rows: _Rows, tables: Sequence[Table], problems: Problems, tell: Callable[[str], None]) -> _Rows:
    """Sort by series and time, and leave out rows whose series and time were there before."""
    if rows.time is None:
        return rows.take(np.argsort(rows.series, kind="stable"))
    backwards = (np.diff(rows.series) == 0) & (np.diff(rows.time) < 0) & (np.diff(rows.file) == 0)
    if backwards.any():
        first = int(np.flatnonzero(backwards)[0]) + 1
        where = f"{tables[rows.file[first]].path}:{rows.line[first]}"
        tell(f"sorted by time: {int(backwards.sum())} rows are earlier than the row before them, first at {where}")
    rows = rows.take(np.lexsort((rows.time, rows.series)))
    assert rows.time is not None
    again = np.concatenate([[False], (np.diff(rows.series) == 0) & (np.diff(rows.time) == 0)])
    complaints = {int(file): Complaints(tables[file].path, problems) for file in np.unique(rows.file[again])}
    for row in np.flatnonzero(again):
        before = row - 1
        while again[before]:
            before -= 1
        where = f"{tables[rows.file[before]].path}:{rows.line[before]}"
        complaints[int(rows.file[row])].add(
            "rows that are there twice",
            int(rows.line[row]),
            f"{rows.keys[rows.series[row]]!r} has a row for this time already ({where}); left out",
        )
    for each in complaints.values():
        each.close()
    return rows.take(np.flatnonzero(~again))


def _tell_steps(rows: _Rows, tables: Sequence[Table], tell: Callable[[str], None]) -> None:
    """Say which series have uneven steps: a model sees rows, not times."""
    assert rows.time is not None
    same = np.diff(rows.series) == 0
    steps = np.diff(rows.time)
    if not same.any():
        return
    typical = float(np.median(steps[same]))
    uneven = same & (np.abs(steps - typical) > 0.01 * typical)
    if not uneven.any():
        return
    number, of = len(np.unique(rows.series[:-1][uneven])), len(np.unique(rows.series))
    worst = int(np.argmax(np.where(same, steps, -np.inf))) + 1
    where = f"{tables[rows.file[worst]].path}:{rows.line[worst]}"
    tell(
        f"uneven steps: {int(uneven.sum())} of {int(same.sum())} in {number} of {of} series differ from the usual "
        f"{typical:g}; the longest is {steps[worst - 1]:g} ({where}). Rows are taken as evenly spaced."
    )
