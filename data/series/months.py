"""Hourly tables cut into months: the clips of the air quality and the transformer set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffsda.data.check import Array
from diffsda.data.problems import Problems
from diffsda.data.series.parts import shuffled
from diffsda.data.series.tables import Table

HOURS = 24 * 28
"""Hours a clip: the first four weeks of a month."""
NAMES = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True)
class Month:
    """One month of one place."""

    year: int
    month: int
    place: int
    rows: Array
    """(HOURS,) int64: the table's row of each hour, -1 where there is none."""


def months(columns: Mapping[str, Array], place: int, *, by_order: bool = False) -> tuple[list[Month], list[Month]]:
    """Group hourly rows by month; return those of 672 rows at least, and those of fewer.

    columns: year, month, day, hour (N,), whole numbers. A row goes where its day and hour say, the first one where two
    claim an hour; ``by_order`` takes the first 672 rows of a month as they come instead.
    """
    year, month = columns["year"].astype(np.int64), columns["month"].astype(np.int64)
    slot = (columns["day"].astype(np.int64) - 1) * 24 + columns["hour"].astype(np.int64)
    whole: list[Month] = []
    short: list[Month] = []
    for key in np.unique(year * 100 + month):
        rows = np.flatnonzero(year * 100 + month == key)
        if by_order:
            chosen = np.concatenate((rows[:HOURS], np.full(max(HOURS - len(rows), 0), -1)))
        else:
            chosen = np.full(HOURS, -1)
            inside = rows[slot[rows] < HOURS]
            # From the last to the first, so that of two rows for an hour the first one stays.
            chosen[slot[inside[::-1]]] = inside[::-1]
        made = Month(int(key) // 100, int(key) % 100, place, chosen)
        (whole if len(rows) >= HOURS else short).append(made)
    return whole, short


def valid_hours(table: Table, problems: Problems) -> Table:
    """Return the rows that name an hour there can be, each hour once; the others are noted.

    The table has columns year, month, day and hour.
    """
    columns = table.numbers
    good = np.ones(len(table), bool)
    for name, (least, most) in {"year": (1900, 2200), "month": (1, 12), "day": (1, 31), "hour": (0, 23)}.items():
        values = columns[name]
        fits = (values >= least) & (values <= most) & (values == np.floor(values))
        for row in np.flatnonzero(~fits & good):
            words = f"got {name} {values[row]:g}, expected {least} to {most}; the row is left out"
            problems.add(table.path, words, int(table.lines[row]))
        good &= fits
    hours = np.stack([columns[name] for name in ("year", "month", "day", "hour")], 1)[good].astype(np.int64)
    places = np.flatnonzero(good)
    _, first, which = np.unique(hours, axis=0, return_index=True, return_inverse=True)
    for place in np.flatnonzero(first[which.reshape(-1)] != np.arange(len(hours))):
        year, month, day, hour = hours[place]
        line, before = (int(table.lines[places[i]]) for i in (place, first[which.reshape(-1)[place]]))
        said = f"got {year}-{month:02}-{day:02} {hour:02}:00 again, first on line {before}; left out"
        problems.add(table.path, said, line)
        good[places[place]] = False
    return table.select(np.flatnonzero(good))


def gather(values: Array, chosen: Sequence[Month]) -> Array:
    """Return columns of all rows (N,) or (N, F) as clips (months, HOURS) or (months, HOURS, F), NaN where no row is."""
    rows = np.stack([month.rows for month in chosen])
    clips = np.where((rows >= 0).reshape(rows.shape + (1,) * (values.ndim - 1)), values[rows], np.nan)
    return clips


def by_year(chosen: Sequence[Month], fit: Sequence[int], test: Sequence[int], seed: int) -> dict[str, list[int]]:
    """Deal months out: those of the test years, and of the others 85 % to train on, in the authors' shuffled order."""
    order = shuffled([row for row, month in enumerate(chosen) if month.year in fit], seed)
    count = int(len(order) * 0.85)
    held = [row for row, month in enumerate(chosen) if month.year in test]
    return {"train": order[:count], "val": order[count:], "test": held}
