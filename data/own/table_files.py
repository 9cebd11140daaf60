"""Tables as they lie in files: CSV in its many dialects, and Parquet, with the line of every row."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.problems import Problems
from diffsda.errors import InputError, MissingPackage

SUFFIXES = (".csv", ".tsv", ".parquet")
DELIMITERS = ",;\t|"
MOST_TOLD = 20
"""Problems of one kind told a file, one by one; the others are counted."""
_HEAD = 65_536
_LONGEST_NAME = 1000
_NO_ROWS = "holds names of columns and no usable rows below them"


@dataclass(frozen=True)
class Table:
    """The rows of a file, as they are written there.

    ``rows`` is a pyarrow table: all columns text for CSV, typed for Parquet. ``lines`` (rows,) is the line of the file
    that each row begins on, counted from 1; for Parquet the row, counted from 1.
    """

    path: str
    name: str
    """What its rows are called where no column tells series apart."""
    rows: Any
    lines: Array
    decimal_comma: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.rows.column_names)

    def __len__(self) -> int:
        return int(self.rows.num_rows)


class Complaints:
    """Problems of one file, of which there may be millions: the first of each kind one by one, the others counted."""

    def __init__(self, path: str, problems: Problems) -> None:
        self.path, self.problems = path, problems
        self.counts: dict[str, int] = {}

    def add(self, kind: str, line: int, reason: str) -> None:
        """Note what is wrong with a line; ``kind`` is what the count of all of them is called."""
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        if count <= MOST_TOLD:
            self.problems.add(self.path, reason, line)

    def close(self) -> None:
        """Note how many were not told one by one."""
        for kind, count in self.counts.items():
            if count > MOST_TOLD:
                self.problems.add(self.path, f"{kind}: {count - MOST_TOLD} more lines besides these")


def read_table(path: Path, name: str, problems: Problems) -> Table | None:
    """Read a table; lines that do not fit its head are noted and left out.

    Returns None, and notes why, for a file that is no table. A CSV may have any of the usual delimiters, quoted line
    breaks, a byte order mark, UTF-8, UTF-16 or Latin-1 text, and decimal commas where the delimiter is another.
    Raises: MissingPackage without pyarrow.
    """
    try:
        return _read_parquet(path, name) if path.suffix.lower() == ".parquet" else _read_csv(path, name, problems)
    except InputError as error:
        problems.add(path, str(error))
    except OSError as error:
        problems.add(path, f"cannot be read ({error.strerror or error})")
    return None


def arrow() -> Any:
    """Return pyarrow with its readers. Raises: MissingPackage with the pip line."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackage(f"reading tables needs pyarrow ({error}): pip install 'diffsda[tables]'") from None
    return pyarrow


def _read_parquet(path: Path, name: str) -> Table:
    pa = arrow()
    try:
        rows = pa.parquet.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"cannot be read as Parquet ({_short(error)}); truncated or not such a file?") from None
    _check_names(list(rows.column_names))
    if not rows.num_rows:
        raise InputError(_NO_ROWS)
    return Table(str(path), name, rows, np.arange(1, rows.num_rows + 1))


def _read_csv(path: Path, name: str, problems: Problems) -> Table:
    encoding, head = _sniff_text(path)
    delimiter, names, skip = _sniff_head(head)
    try:
        rows, wrong = _parse(path, encoding, delimiter, names, skip)
    except UnicodeError:
        rows, wrong = _parse(path, "latin-1", delimiter, names, skip)
    inner = np.zeros(rows.num_rows, np.int64)
    blank = np.ones(rows.num_rows, bool)
    count = arrow().compute.count_substring
    for column in rows.columns:
        inner += count(column, "\n").to_numpy()
        blank &= np.equal(arrow().compute.utf8_length(column).to_numpy(), 0)
    lines, wrong_lines = _lines(inner, wrong, skip)
    complaints = Complaints(str(path), problems)
    for line, (_, cells, _) in zip(wrong_lines, wrong):
        complaints.add("rows of another width", line, f"got {cells} cells, expected {len(names)}; the row is left out")
    complaints.close()
    if blank.all():
        raise InputError(_NO_ROWS)
    rows = rows.filter(arrow().array(~blank))
    return Table(str(path), name, rows, lines[~blank], decimal_comma=delimiter != ",")


def _parse(
    path: Path, encoding: str, delimiter: str, names: list[str], skip: int
) -> tuple[Any, list[tuple[int, int, int]]]:
    """Return the rows, all text, and for each row of another width its number, its cells and its line breaks.

    Raises: UnicodeError if the text is not of this encoding.
    """
    csv_ = arrow().csv
    wrong: list[tuple[int, int, int]] = []

    def refuse(row: Any) -> str:
        wrong.append((row.number, row.actual_columns, row.text.count("\n")))
        return "skip"

    read = csv_.ReadOptions(use_threads=False, column_names=names, skip_rows=skip, encoding=encoding)
    # Rows are numbered and quoted line breaks parsed by one thread only.
    parse = csv_.ParseOptions(
        delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=refuse
    )
    text = csv_.ConvertOptions(
        column_types={name: arrow().string() for name in names},
        strings_can_be_null=False,
    )
    try:
        return csv_.read_csv(path, read, parse, text), wrong
    except (arrow().ArrowException, ValueError) as error:
        if "utf" in str(error).lower():
            raise UnicodeError(_short(error)) from None
        if "skip" in str(error):
            raise InputError(_NO_ROWS) from None
        raise InputError(f"cannot be read as a table ({_short(error)})") from None


def _lines(inner: Array, wrong: list[tuple[int, int, int]], skip: int) -> tuple[Array, list[int]]:
    """Return the lines on which the rows begin, and those of the wrong rows between them.

    inner: line breaks within each row. Wrong rows know their number among all, counted from 1 with the lines skipped.
    """
    total = len(inner) + len(wrong)
    is_wrong = np.zeros(total, bool)
    is_wrong[[number - skip - 1 for number, _, _ in wrong]] = True
    taken = np.ones(total, np.int64)
    taken[~is_wrong] += inner
    taken[is_wrong] += np.array([breaks for _, _, breaks in wrong], np.int64)
    begins = skip + 1 + np.cumsum(taken) - taken
    return begins[~is_wrong], begins[is_wrong].tolist()


def _sniff_text(path: Path) -> tuple[str, str]:
    """Return the encoding and the beginning of a text."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.strip():
        raise InputError("is empty, expected a table with names of columns in its first line")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", head.decode("utf-16", "replace")
    if b"\0" in head:
        raise InputError("is no text, expected a table with names of columns in its first line")
    try:
        # The cut may lie within a letter.
        return "utf-8", codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return "latin-1", head.decode("latin-1")


def _sniff_head(head: str) -> tuple[str, list[str], int]:
    """Return the delimiter, the names of the columns and the lines they take, with the comments above them."""
    comments = 0
    for line in io.StringIO(head, newline=""):
        if line.strip() and not line.startswith("#"):
            break
        comments += 1
    body = "".join(itertools.islice(io.StringIO(head, newline=""), comments, None))
    best: tuple[tuple[float, int], str, list[str], int] | None = None
    for delimiter in DELIMITERS:
        reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter)
        try:
            names = next(reader, [])
            taken = reader.line_num
            widths = [len(row) for row, _ in zip(reader, range(20))]
        except csv.Error as error:
            raise InputError(f"cannot be read as a table ({_short(error)})") from None
        alike = sum(width == len(names) for width in widths) / max(len(widths), 1)
        score = (alike if len(names) > 1 else -1.0, len(names))
        if best is None or score > best[0]:
            best = score, delimiter, names, comments + taken
    assert best is not None
    _, delimiter, names, skip = best
    names = [name.strip() or f"column {i}" for i, name in enumerate(names, 1)]
    _check_names(names)
    return delimiter, names, skip


def _check_names(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"has two columns called {twice!r}, expected a name of its own for each")
    if any(len(name) > _LONGEST_NAME for name in names):
        raise InputError(f"has a column whose name is longer than {_LONGEST_NAME} letters; is a quote not closed?")
    if not names or all(_is_number(name) for name in names):
        shown = ", ".join(names[:4]) or "nothing"
        raise InputError(f"its first line holds {shown}, expected the names of the columns")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
