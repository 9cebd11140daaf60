"""Cells are taken for what people mean by them, and no more."""

import datetime
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.own.cells import numbers, times, words


def column(*cells, kind=None):
    return pa.chunked_array([list(cells)], type=kind or pa.string())


def test_numbers_missing_values_and_wrong_ones_are_told_apart():
    cells = [
        "1",
        " 2.5 ",
        "-3e2",
        ".5",
        "5.",
        "+4",
        "TRUE",
        "false",
        "",
        "NaN",
        "n/a",
        " - ",
        "x",
        "1,5",
        "inf",
        "1e999",
    ]
    values, wrong = numbers(column(*cells))
    assert values[:8].tolist() == [1, 2.5, -300, 0.5, 5, 4, 1, 0]
    assert np.isnan(values[8:]).all()
    assert wrong.tolist() == [False] * 12 + [True] * 4


def test_decimal_commas_count_where_they_are_expected():
    values, wrong = numbers(column("1,5", "2", "-,5", "1,2,3"), decimal_comma=True)
    assert values[:3].tolist() == [1.5, 2, -0.5]
    assert wrong.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        (pa.int64(), [1, None], [1, None]),
        (pa.float32(), [1.5, math.nan], [1.5, None]),
        (pa.bool_(), [True, None], [1, None]),
        (pa.decimal128(5, 2), [None, 2], [None, 2]),
    ],
)
def test_typed_columns_are_numbers_already(kind, cells, expected):
    values, wrong = numbers(column(*cells, kind=kind))
    assert [None if np.isnan(v) else v for v in values] == expected
    assert not wrong.any()
    assert numbers(column(1.0, math.inf, kind=pa.float64()))[1].tolist() == [False, True]


@given(
    st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**15), 10**15)), min_size=1)
)
def test_written_numbers_come_back(held):
    values, wrong = numbers(column(*map(repr, held)))
    assert not wrong.any()
    assert values.tolist() == [float(repr(v)) for v in held]


def test_words_become_codes():
    codes, found = words(pa.chunked_array([["b", " a ", ""], [None, "b"]]))
    assert [found[c] if c >= 0 else None for c in codes] == ["b", "a", None, None, "b"]
    codes, found = words(column(7, None, 7, kind=pa.int64()))
    assert (codes.tolist(), found[0]) == ([0, -1, 0], "7")
    assert words(column())[0].tolist() == []


HOUR, DAY = 3600.0, 86400.0


@pytest.mark.parametrize(
    ("cells", "steps", "assumed"),
    [
        (["2024-01-01", "2024-01-02 12:00"], [1.5 * DAY], None),
        (["2024-01-01T00:00:00+02:00", "2024-01-01T00:00:00Z"], [2 * HOUR], None),
        (["13/02/2020", "14/02/2020"], [DAY], None),
        (["28/02/2020", "01/03/2020"], [2 * DAY], None),
        (["01/02/2020", "13/02/2020"], [12 * DAY], "day first"),
        (["01/02/2020", "02/02/2020"], [31 * DAY], "month first"),
        (["01/02/2020 22:00", "01/02/2020 23:00", "02/02/2020 00:00"], [HOUR, HOUR], "day first"),
        (["02/01/2020 22:00", "02/01/2020 23:00", "02/02/2020 00:00"], [HOUR, HOUR], "month first"),
        (["20240131", "20240201"], [DAY], "year, month and day"),
        (["10:00", "11:30"], [1.5 * HOUR], None),
        (["0", "2.5"], [2.5], None),
        (["1e3", "2e3"], [1000], None),
        (["20000000", "20000001"], [1], None),
    ],
)
def test_times_are_read_as_they_are_written(cells, steps, assumed):
    when, said = times(column(*cells))
    assert np.diff(when).tolist() == pytest.approx(steps)
    assert (said is None) if assumed is None else (assumed in said)


def test_what_is_no_time_is_none():
    assert np.isnan(times(column("x", "y"))[0]).all()
    assert np.isnan(times(column("1", "2", "x", ""))[0]).tolist() == [False, False, True, True]
    when, _ = times(column(datetime.datetime(2020, 1, 1), None, kind=pa.timestamp("us")))
    assert (when[0], np.isnan(when[1])) == (1577836800, True)
    when, _ = times(column(datetime.date(2020, 1, 1), kind=pa.date32()))
    assert when.tolist() == [1577836800]
    assert len(times(column())[0]) == 0
