"""What the columns of tables are: which tells series apart, which is the time, which are values, which are labels."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diffsda.data.check import Array
from diffsda.data.own import when
from diffsda.data.own.cells import numbers, words
from diffsda.data.own.table_files import Table
from diffsda.data.problems import Problems
from diffsda.errors import InputError

IDS = ("id", "series", "sequence", "seq", "subject", "patient", "user", "unit", "station", "speaker", "item", "key")
"""What people call the column that tells series apart; endings with ``_id`` count as well."""


@dataclass(frozen=True)
class Roles:
    """Columns by what they are for. Without an id every file is one series; without a time rows follow one another."""

    id: str | None
    time: tuple[str, ...]
    """One column, or several that say it together."""
    values: tuple[str, ...]
    words: tuple[str, ...]
    """Columns of words, labels if they do not change within a series."""


def same_columns(tables: Sequence[Table], problems: Problems) -> list[Table]:
    """Return the tables that have the columns most of them have; say of the others which differ."""
    usual = Counter(frozenset(table.names) for table in tables)
    most = max(usual.values())
    first = next(table for table in tables if usual[frozenset(table.names)] == most)
    kept = []
    for table in tables:
        lacks = [name for name in first.names if name not in table.names]
        more = [name for name in table.names if name not in first.names]
        if lacks:
            near = [f"; is {m!r} meant for {n!r}?" for n in lacks for m in difflib.get_close_matches(n, more, 1)][:1]
            problems.add(
                table.path, f"lacks {_list(lacks)}, which {first.path} has{''.join(near)}; the file is left out", 1
            )
            continue
        if more:
            problems.add(table.path, f"has {_list(more)}, which {first.path} lacks; left out", 1)
        kept.append(table)
    return kept


def choose(table: Table, id: str | None, time: str | None, tell: Callable[[str], None]) -> Roles:
    """Decide what the columns of a table are for; what was guessed is told.

    id, time: columns that people named, several for the time with commas between; None guesses.
    Raises: InputError for a name that is no column, where no guess is safe, or where no column holds numbers.
    """
    parts = () if time is None else (time,) if time in table.names else tuple(map(str.strip, time.split(",")))
    named = [(option, name) for option, name in (("id", id), *(("time", part) for part in parts)) if name is not None]
    for option, name in named:
        if name not in table.names:
            near = difflib.get_close_matches(name, table.names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"--{option}: got {name!r}, expected one of {', '.join(table.names)}{hint}")
    given = {name for _, name in named}
    rest = [name for name in table.names if name not in given and not _counts_rows(table, name, tell)]
    columns = parts or when.guess(table, rest, tell)
    rest = [name for name in rest if name not in columns]
    kinds = {name: _kind(table, name) for name in rest}
    if id is None:
        id = _guess_id(table, rest, columns, kinds, tell)
    values = tuple(name for name in rest if kinds[name] == "numbers" and name != id)
    empty = [name for name in rest if kinds[name] == "nothing"]
    if empty:
        tell(f"left out, without any value: {_list(empty)}")
    if not values:
        raise InputError(f"{table.path}: no column holds numbers, expected some besides id and time: {_list(rest)}")
    return Roles(id, columns, values, tuple(name for name in rest if kinds[name] == "words" and name != id))


def _kind(table: Table, name: str) -> str:
    values, wrong = numbers(table.rows[name], decimal_comma=table.decimal_comma)
    known, bad = int((~np.isnan(values)).sum()), int(wrong.sum())
    if not known and not bad:
        return "nothing"
    return "numbers" if known >= bad else "words"


def _counts_rows(table: Table, name: str, tell: Callable[[str], None]) -> bool:
    """Tell whether a column without a name of its own only counts rows, as data frames write it."""
    if not name.startswith(("column ", "Unnamed:", "index", "__index_level_")):
        return False
    values, _ = numbers(table.rows[name])
    counts = len(values) > 1 and bool((values == values[0] + np.arange(len(values))).all())
    if counts:
        tell(f"left out: {name!r}, which only counts rows")
    return counts


def _guess_id(
    table: Table, names: Sequence[str], time: tuple[str, ...], kinds: dict[str, str], tell: Callable[[str], None]
) -> str | None:
    at = when.when(table, time)[0] if time else None
    alike = [name for word in IDS for name in names if name.lower() == word]
    alike += [name for name in names if name not in alike and name.lower().endswith(("_id", " id"))]
    alike = [name for name in alike if _repeats(table, name)]
    if alike:
        tell(f"id: series are told apart by column {alike[0]!r} (guessed; --id says otherwise)")
        return alike[0]
    if at is None or len(np.unique(at)) == len(at):
        return None
    fit = [name for name in names if kinds[name] == "words" and _tells_apart(table, name, at)]
    if len(fit) == 1:
        tell(f"id: series are told apart by column {fit[0]!r} (guessed; --id says otherwise)")
        return fit[0]
    if fit:
        raise InputError(f"{table.path}: times repeat; {_list(fit)} could each tell series apart: say --id COLUMN")
    if len(np.unique(at)) < 0.5 * len(at):
        raise InputError(
            f"{table.path}: {len(at)} rows have {len(np.unique(at))} times by {_list(time)}, and no column tells "
            "series apart; expected one (--id COLUMN), or another time (--time COLUMN)"
        )
    return None


def _repeats(table: Table, name: str) -> bool:
    codes, found = words(table.rows[name])
    return len(found) <= 0.5 * max(len(codes), 1) or len(found) == 1


def _tells_apart(table: Table, name: str, at: Array) -> bool:
    """Tell whether within each word of a column times hardly repeat."""
    codes, _ = words(table.rows[name])
    pairs = len(np.unique(np.stack([codes.astype(np.float64), at]), axis=1).T)
    return _repeats(table, name) and pairs >= 0.99 * len(codes)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
