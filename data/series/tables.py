"""Comma-separated tables, read strictly: what is wrong is told by file and line."""

from __future__ import annotations

import csv
import difflib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsda.data.check import Array
from diffsda.data.problems import Problems
from diffsda.errors import InputError

MISSING = frozenset({"", "na", "nan", "n/a", "null", "none"})
"""What a missing value is written as, in lower case."""

MOST = 100
"""Lines of a table that may be unusable before it is taken for another kind of file."""


@dataclass(frozen=True)
class Table:
    """Columns of a table, all of as many rows."""

    path: Path
    lines: Array
    """(N,) int64: the line a row stands on, from 1."""
    numbers: dict[str, Array]
    """(N,) float64 each; NaN = missing."""
    words: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.lines)

    def select(self, rows: Array) -> Table:
        """Return some of the rows, by number."""
        return Table(
            self.path,
            self.lines[rows],
            {name: values[rows] for name, values in self.numbers.items()},
            {name: [values[row] for row in rows] for name, values in self.words.items()},
        )


def read_table(
    path: str | os.PathLike[str], numbers: Sequence[str], words: Sequence[str] = (), *, problems: Problems
) -> Table:
    """Read the named columns of a table with a header line, in whatever order they come; others are passed over.

    A row with too few or too many fields is left out, a value that is no finite number is taken as missing; both are
    noted in ``problems`` with their line.
    Raises: InputError if the file cannot be read, is empty, lacks a column or has more than ``MOST`` unusable lines.
    """
    path = Path(path)
    before = len(problems)
    rows = _rows(path)
    _, header = next(rows, (0, []))
    header = [name.strip() for name in header]
    places = {name: _place(path, header, name) for name in (*numbers, *words)}
    lines: list[int] = []
    held: dict[str, list[float]] = {name: [] for name in numbers}
    said: dict[str, list[str]] = {name: [] for name in words}
    for line, row in rows:
        if len(problems) - before > MOST:
            raise InputError(f"{path}: got more than {MOST} lines that are not usable, expected a table of numbers")
        if len(row) != len(header):
            problems.add(path, f"got {len(row)} fields, expected {len(header)}; the row is left out", line)
            continue
        lines.append(line)
        for name, column in said.items():
            column.append(row[places[name]].strip())
        for name, values in held.items():
            values.append(_number(row[places[name]], name, path, line, problems))
    return Table(
        path=path,
        lines=np.array(lines, np.int64),
        numbers={name: np.array(values, np.float64) for name, values in held.items()},
        words=said,
    )


def header_of(path: str | os.PathLike[str]) -> list[str]:
    """Return the column names of a table.

    Raises: InputError if the file cannot be read.
    """
    return [name.strip() for name in next(_rows(Path(path)), (0, []))[1]]


def runs(missing: Array) -> list[tuple[int, int]]:
    """Return where runs of True begin and end: missing (N,) bool -> pairs of start and stop."""
    steps = np.diff(np.concatenate(([0], np.asarray(missing, np.int8), [0])))
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))


def longest_run(table: Table, names: Sequence[str]) -> str | None:
    """Say where the longest run of missing values in some columns lies, None if nothing is missing."""
    found = [(stop - start, name, start) for name in names for start, stop in runs(np.isnan(table.numbers[name]))]
    if not found:
        return None
    length, name, start = max(found)
    return f"{table.path}:{table.lines[start]}: {name} is missing for {length} rows, the longest run"


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and fields; blank lines are passed over."""
    try:
        # Bytes that are no UTF-8 must spoil their own field only.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file)
            while True:
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    raise InputError(f"{path}:{reader.line_num}: cannot be read as a table ({error})") from None
                if row is None:
                    return
                if any(field.strip() for field in row):
                    yield reader.line_num, row
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _place(path: Path, header: list[str], name: str) -> int:
    if not header:
        raise InputError(f"{path}: is empty, expected a table with a header line")
    count = header.count(name)
    if count == 1:
        return header.index(name)
    if count > 1:
        raise InputError(f"{path}:1: got {count} columns {name!r}, expected one")
    near = difflib.get_close_matches(name, header, 1)
    hint = f"; is {near[0]!r} it?" if near else ""
    shown = ", ".join(repr(column)[1:-1] for column in header)
    raise InputError(f"{path}:1: got columns {shown[:200]}, expected one called {name!r}{hint}")


def _number(text: str, name: str, path: Path, line: int, problems: Problems) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.inf if text.strip().lower() not in MISSING else math.nan
    if math.isinf(value):
        problems.add(path, f"got {name} {text.strip()[:40]!r}, expected a number; taken as missing", line)
        return math.nan
    return value
