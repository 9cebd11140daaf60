"""The fixed lists of test clips that the evaluation swaps, as tables of names."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from diffsda.data.problems import Problems
from diffsda.data.video.found import Pair
from diffsda.errors import InputError

Row = Mapping[str, str]


def read_pairs(
    path: Path,
    columns: tuple[str, str],
    key_of: Callable[[str], str],
    known: Mapping[str, str],
    problems: Problems,
    check: Callable[[Row], str | None] = lambda row: None,
) -> list[Pair]:
    """Read pairs of clips from a CSV file with a header.

    columns: of the two names. key_of: makes a clip's key of a name. known: the split of every clip, by key.
    check: says what else is wrong with a row.
    Rows that name a clip that is not there, or no test clip, or are wrong otherwise are problems and left out.
    Raises: InputError if the file cannot be read or has not these columns.
    """
    pairs = []
    for line, row in _rows(path, columns):
        keys = [key_of(row[column]) for column in columns]
        strange = [row[column] for column, key in zip(columns, keys, strict=True) if known.get(key) != "test"]
        wrong = f"{strange[0]!r} is no test clip that was found" if strange else check(row)
        if wrong is None:
            pairs.append(Pair(*keys))
        else:
            problems.add(path, f"{wrong}; the pair is left out", line)
    return pairs


def _rows(path: Path, columns: tuple[str, str]) -> Iterator[tuple[int, Row]]:
    """Yield rows that have both columns filled, with the number of their line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if not set(columns) <= set(table.fieldnames or ()):
                held = ", ".join(table.fieldnames or ()) or "nothing"
                raise InputError(f"{path}: got columns {held}, expected {' and '.join(columns)} among them")
            for row in table:
                yield table.line_num, {name: value or "" for name, value in row.items() if isinstance(name, str)}
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read ({error}), expected a CSV file of pairs") from None
