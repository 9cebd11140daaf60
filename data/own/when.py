"""When each row of a table was: a column of times, or several that say it together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from diffsda.data.check import Array
from diffsda.data.own.cells import joined, times
from diffsda.data.own.table_files import Table

TIMES = ("time", "timestamp", "datetime", "date", "ds", "t", "step", "frame", "tick", "cycle")
"""What people call the column of time."""
PARTS = ("year", "month", "day", "hour", "minute", "second")
"""Columns that say it together, in any case; the first three must be there."""


def when(table: Table, names: Sequence[str]) -> tuple[Array, str | None]:
    """Return when each row was, (rows,) float64 with NaN where it cannot be read, and what was assumed if anything.

    names: one column of numbers or dates; a date and a time of day; or year, month, day and what else there is.
    """
    if len(names) == 1:
        return times(table.rows[names[0]], decimal_comma=table.decimal_comma)
    parts = {name.lower(): name for name in names}
    if "year" in parts:
        ordered = [parts[part] for part in PARTS if part in parts]
        return times(joined([table.rows[name] for name in ordered], "date"))
    return times(joined([table.rows[name] for name in names], "text"))


def guess(table: Table, names: Sequence[str], tell: Callable[[str], None]) -> tuple[str, ...]:
    """Return the columns that say when, by what they are called and hold; none where none does."""
    for found in _candidates(names):
        values, _ = when(table, found)
        if np.isnan(values).mean() < 0.1:
            what = f"column {found[0]!r}" if len(found) == 1 else f"columns {', '.join(map(repr, found))} together"
            tell(f"time: taken from {what} (guessed; --time says otherwise)")
            return found
    tell("time: no column looks like one, so rows follow one another as they are written (--time COLUMN)")
    return ()


def _candidates(names: Sequence[str]) -> list[tuple[str, ...]]:
    by_word = {name.lower(): name for name in names}
    found: list[tuple[str, ...]] = []
    if "date" in by_word and "time" in by_word:
        found.append((by_word["date"], by_word["time"]))
    found += [(by_word[word],) for word in TIMES if word in by_word]
    if all(part in by_word for part in PARTS[:3]):
        found.append(tuple(by_word[part] for part in PARTS if part in by_word))
    return found + [(name,) for name in names if name.lower().endswith(("time", "date", "timestamp"))]
