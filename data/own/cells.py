"""What is written in the cells of a column: numbers, times, words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from diffsda.data.check import Array
from diffsda.data.own.table_files import arrow
from diffsda.errors import MissingPackage

MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "--", "?", ".", "#n/a", "#na")
"""What people write, in any case, where there is no value."""
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$"
_INFINITE = r"^[+-]?inf(inity)?$"


def _trimmed(column: Any) -> Any:
    pc = arrow().compute
    return pc.utf8_lower(pc.utf8_trim_whitespace(_as_text(column)))


def numbers(column: Any, *, decimal_comma: bool = False) -> tuple[Array, Array]:
    """Return the numbers of a column, (rows,) float64 with NaN where there is none, and which cells are no numbers.

    A cell that says in the usual words that its value is missing is no wrong one. True and false are 1 and 0;
    infinities are wrong. decimal_comma: ``1,5`` is one and a half.
    """
    pa = arrow()
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        # A null is not there, and a NaN in a file of typed numbers says the same.
        values = pa.compute.cast(column, pa.float64(), safe=False).to_numpy()
        wrong = np.isinf(values)
        return np.where(wrong, np.nan, values), wrong
    if pa.types.is_boolean(kind):
        return pa.compute.cast(pa.compute.cast(column, pa.uint8()), pa.float64()).to_numpy(), np.zeros(
            len(column), bool
        )
    pc = pa.compute
    text = _trimmed(column)
    if decimal_comma:
        text = pc.replace_substring_regex(text, r"^([+-]?\d*),(\d+)", r"\1.\2")
    text = pc.if_else(pc.equal(text, "true"), "1", pc.if_else(pc.equal(text, "false"), "0", text))
    right = pc.match_substring_regex(text, _NUMBER)
    missing = pc.is_in(text, pa.array(MISSING))
    values = pc.cast(pc.if_else(right, text, None), pa.float64()).to_numpy()
    wrong = ~(right.to_numpy() | missing.to_numpy()) | np.isinf(values)
    return np.where(wrong, np.nan, values), wrong


def words(column: Any) -> tuple[Array, list[str]]:
    """Return the words of a column as codes (rows,) int64 into the list of those that differ; -1 where none is."""
    pa = arrow()
    text = pa.compute.utf8_trim_whitespace(_as_text(column))
    coded = text.combine_chunks().dictionary_encode() if isinstance(text, pa.ChunkedArray) else text.dictionary_encode()
    found = coded.dictionary.to_pylist()
    codes = coded.indices.to_numpy().astype(np.int64)
    nothing = np.array([word.lower() in MISSING for word in found], bool)
    return np.where(nothing[codes], -1, codes), found


def times(column: Any, *, decimal_comma: bool = False) -> tuple[Array, str | None]:
    """Return when each row was, (rows,) float64 with NaN where it cannot be read, and what was assumed if anything.

    Numbers are times as they are, but for whole ones that all are dates like 20240131; dates become seconds.
    Raises: MissingPackage without pandas.
    """
    pa = arrow()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return _seconds(column.to_pandas()), None
    values, wrong = numbers(column, decimal_comma=decimal_comma)
    known = ~np.isnan(values)
    if wrong.sum() <= known.sum():
        return _compact(values, known)
    codes, found = words(column)
    stamps, assumed = _dates(found)
    return np.where(codes >= 0, np.append(stamps, np.nan)[codes], np.nan), assumed


def joined(columns: Sequence[Any], how: Literal["text", "date"]) -> Any:
    """Return one text column of several: their words with a space between, or a date of year, month, day, hour ..."""
    pc = arrow().compute
    text = [pc.utf8_trim_whitespace(_as_text(column)) for column in columns]
    if how == "text":
        return pc.binary_join_element_wise(*text, " ")
    two = [pc.utf8_lpad(pc.replace_substring_regex(column, r"\.0*$", ""), 2, "0") for column in text]
    date = pc.binary_join_element_wise(*two[:3], "-")
    if len(two) == 3:
        return date
    clock = [*two[3:], arrow().scalar("00")] if len(two) == 4 else two[3:]
    return pc.binary_join_element_wise(date, pc.binary_join_element_wise(*clock, ":"), "T")


def _compact(values: Array, known: Array) -> tuple[Array, str | None]:
    """Read whole numbers like 20240131 as dates if all of them are such."""
    held = values[known]
    if not held.size or held.min() < 19_000_101 or held.max() > 21_001_231 or (held % 1).any():
        return values, None
    first = f"{held[0]:.0f}"
    stamps = _seconds(_pandas().to_datetime(held.astype(np.int64).astype(str), format="%Y%m%d", errors="coerce"))
    if np.isnan(stamps).any():
        return values, None
    out = np.full(len(values), np.nan)
    out[known] = stamps
    return out, f"times such as {first} are read as year, month and day"


def _dates(found: list[str]) -> tuple[Array, str | None]:
    """Read dates in whichever usual way loses the fewest of them; return them and what was assumed if anything."""
    iso = _read(found, format="ISO8601")
    if not np.isnan(iso).any():
        return iso, None
    ways = {"month first": _read(found), "day first": _read(found, dayfirst=True)}
    ways["each for itself"] = _read(found, format="mixed")
    lost = {way: int(np.isnan(stamps).sum()) for way, stamps in ways.items()}
    best = min(ways, key=lambda way: lost[way])
    if best == "month first" and lost["day first"] == lost[best]:
        # Either may be meant; the right one leaves steps even, the wrong one jumps from month to month.
        even = {way: _unevenness(ways[way]) for way in ("month first", "day first")}
        best = "day first" if 2 * even["day first"] < even["month first"] else best
    if np.isnan(iso).sum() <= lost[best]:
        return iso, None
    unclear = not np.array_equal(ways["month first"], ways["day first"], equal_nan=True)
    return ways[best], f"dates such as {found[0]!r} are read {best}" if unclear else None


def _read(found: list[str], **how: Any) -> Array:
    """Return dates in seconds as pandas reads them, NaN for what it cannot read."""
    pandas = _pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _seconds(pandas.to_datetime(found, errors="coerce", utc=True, **how))
        except (ValueError, OverflowError):
            return np.full(len(found), np.nan)


def _unevenness(stamps: Array) -> float:
    """Return the longest step from a time to the next by the usual one."""
    steps = np.diff(np.unique(stamps[~np.isnan(stamps)]))
    return float(steps.max() / np.sort(steps)[(len(steps) - 1) // 2]) if len(steps) else 1.0


def _seconds(stamps: Any) -> Array:
    """Return seconds since 1970, NaN where there is no time."""
    pandas = _pandas()
    stamps = pandas.to_datetime(pandas.Series(stamps), utc=True, errors="coerce")
    micro = stamps.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return np.where(np.isnat(micro), np.nan, micro.astype(np.int64) / 1e6)


def _as_text(column: Any) -> Any:
    """Return a column as text; what is not there is empty."""
    pa = arrow()
    if pa.types.is_dictionary(column.type):
        column = pa.compute.cast(column, column.type.value_type)
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        try:
            column = pa.compute.cast(column, pa.string())
        except pa.ArrowException:
            # Lists and such: nothing that a table of numbers and words would hold.
            return pa.array([""] * len(column))
    return pa.compute.fill_null(column, "")


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingPackage(f"reading dates needs pandas ({error}): pip install 'diffsda[tables]'") from None
    return pandas
