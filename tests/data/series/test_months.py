"""Hours are the ones a calendar has, months the ones with four weeks of them."""

from datetime import datetime

import numpy as np
import pytest
from downloads import hours

from diffsda.data.problems import Problems
from diffsda.data.series.months import HOURS, by_year, gather, months, valid_hours
from diffsda.data.series.tables import Table


def table(whens, tmp_path):
    columns = {
        name: np.array([getattr(when, name) for when in whens], float) for name in ("year", "month", "day", "hour")
    }
    return Table(tmp_path / "t.csv", np.arange(2, len(whens) + 2), columns, {})


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("year", (1900, 2200), (1899, 2201)),
        ("month", (1, 12), (0, 13)),
        ("day", (1, 31), (0, 32)),
        ("hour", (0, 23), (-1, 24)),
    ],
)
def test_hours_that_there_are_not_go(tmp_path, column, good, bad):
    given = table(hours(datetime(2014, 5, 10, 12), 6), tmp_path)
    given.numbers[column][:5] = [*good, *bad, np.nan]
    if column != "hour":
        given.numbers["hour"][:] = np.arange(6)
    problems = Problems()
    kept = valid_hours(given, problems)
    assert kept.lines.tolist() == [2, 3, 7]
    assert [p.line for p in problems] == [4, 5, 6]
    assert f"got {column} {bad[0]}, expected" in str(next(iter(problems)))


def test_half_an_hour_is_none(tmp_path):
    given = table(hours(datetime(2014, 5, 10), 3), tmp_path)
    given.numbers["hour"][1] = 0.5
    assert valid_hours(given, Problems()).lines.tolist() == [2, 4]


@pytest.mark.parametrize(("count", "whole"), [(HOURS - 1, 0), (HOURS, 1), (HOURS + 48, 1)])
def test_a_month_has_672_hours_at_least(tmp_path, count, whole):
    found, short = months(table(hours(datetime(2014, 5, 1), count), tmp_path).numbers, 3)
    assert (len(found), len(short)) == (whole, 1 - whole)
    made = (found + short)[0]
    assert (made.year, made.month, made.place) == (2014, 5, 3)
    assert (made.rows >= 0).sum() == min(count, HOURS)


def test_rows_past_the_fourth_week_fill_no_gap(tmp_path):
    whens = [when for when in hours(datetime(2014, 5, 1), 24 * 31) if when.day != 2]
    numbers = table(whens, tmp_path).numbers
    (found,), _ = months(numbers, 0)
    days = gather(numbers["day"], [found])[0]
    assert np.flatnonzero(np.isnan(days)).tolist() == list(range(24, 48))
    (ordered,), _ = months(numbers, 0, by_order=True)
    assert gather(numbers["day"], [ordered])[0, -1] == 29


def test_years_in_neither_part_are_in_no_part(tmp_path):
    whens = [when for year in range(2012, 2019) for when in hours(datetime(year, 3, 1), HOURS)]
    found, _ = months(table(whens, tmp_path).numbers, 0)
    splits = by_year(found, (2013, 2014, 2015, 2017), (2016,), 0)
    years = {split: sorted(found[row].year for row in rows) for split, rows in splits.items()}
    assert sorted(years["train"] + years["val"]) == [2013, 2014, 2015, 2017]
    assert years["test"] == [2016]
