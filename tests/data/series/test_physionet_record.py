"""A patient's file is read line by line and cut into hours, ours and the authors'."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from downloads import clock, record
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsda.data.problems import Problems
from diffsda.data.series.physionet_record import Record, hourly, read_record
from diffsda.errors import InputError

NAN = float("nan")


def made(rows):
    minutes, names, values = zip(*rows, strict=True)
    return Record(1, {}, np.array(minutes), list(names), np.array(values, float))


def test_a_record_is_read(tmp_path):
    path = record(tmp_path, 132539, [(7, "HR", 73), (7, "GCS", 15), (2825, "Temp", 98.6)], static={"Height": 1.7})
    problems = Problems()
    read = read_record(path, problems)
    assert not len(problems)
    assert read.id == 132539
    assert read.static == pytest.approx({"Age": 54, "Gender": 0, "Height": 170, "ICUType": 3, "Weight": 80.5})
    assert read.minutes.tolist() == [7, 7, 2825]
    assert read.names == ["HR", "GCS", "Temp"]
    assert read.values.tolist() == [73, 15, 98.6], "as they stand in the file"


def test_what_is_recorded_on_admission_is_no_measurement_but_later_it_is(tmp_path):
    path = record(tmp_path, 5, [(0, "HR", 70), (60, "Weight", 81)], static={"Weight": -1})
    read = read_record(path, Problems())
    assert math.isnan(read.static["Weight"])
    assert list(zip(read.minutes.tolist(), read.names, strict=True)) == [(0, "HR"), (60, "Weight")]


def test_bad_lines_are_told_by_number_and_left_out(tmp_path):
    path = record(tmp_path, 5, [(10, "HR", 70)])
    lines = ["11:0x,HR,70", "01:60,HR,1", "noon,HR,1", "02:00,HR", "02:00,HR,high", "02:00,HR,inf", "", "02:01,HR,71"]
    path.write_text(path.read_text() + "\n".join(lines) + "\n")
    problems = Problems()
    read = read_record(path, problems)
    assert read.values.tolist() == [70, 71]
    assert [p.line for p in problems] == [9, 10, 11, 12, 13, 14]
    assert "got time '01:60', expected hours:minutes" in str(list(problems)[1])
    assert "got HR 'high', expected a number" in str(list(problems)[4])


@pytest.mark.parametrize(("clock", "good"), [("1000:59", True), ("1001:00", False), ("-1:00", False), ("7", False)])
def test_times_that_can_be(tmp_path, clock, good):
    path = record(tmp_path, 5, [])
    path.write_text(path.read_text() + f"{clock},HR,1\n")
    problems = Problems()
    assert len(read_record(path, problems).minutes) == good
    assert len(problems) == (not good)


def test_a_line_without_a_parameter_only_says_a_time(tmp_path):
    path = record(tmp_path, 5, [(10, "HR", 70), (90, "", -1), (150, "", "")])
    problems = Problems()
    read = read_record(path, problems)
    assert not len(problems)
    assert hourly(read, ("HR",))[:, 0] == pytest.approx([70, NAN, NAN], nan_ok=True)


def test_files_that_are_no_records(tmp_path):
    path = record(tmp_path, 5, [(10, "HR", 70)])
    text = path.read_text()
    path.write_text(text.replace("Time,", "Zeit,"))
    with pytest.raises(InputError, match=r"5\.txt:1: got 'Zeit,Parameter,Value', expected Time,Parameter,Value"):
        read_record(path, Problems())
    path.write_text(text.replace("RecordID", "Record"))
    with pytest.raises(InputError, match="no line 00:00,RecordID"):
        read_record(path, Problems())
    path.write_text("")
    with pytest.raises(InputError, match="got ''"):
        read_record(path, Problems())
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path / "none.txt", Problems())


def test_a_second_value_on_admission_is_told(tmp_path):
    path = record(tmp_path, 5, [(0, "Age", 55)])
    problems = Problems()
    assert read_record(path, problems).static["Age"] == 54
    assert "got Age 55 again, first 54" in str(next(iter(problems)))


def test_hours_are_counted_from_the_first_measurement_to_the_last():
    one = made([(30, "HR", 60), (89, "HR", 80), (90, "HR", 100), (200, "GCS", 9)])
    assert hourly(one, ("HR", "GCS")) == pytest.approx(np.array([[70, NAN], [100, NAN], [NAN, 9]]), nan_ok=True)


def test_values_that_cannot_be_are_missing_but_keep_their_hour():
    one = made([(0, "Temp", 10), (60, "Temp", 98.6), (130, "Temp", 99)])
    assert hourly(one, ("Temp",))[:, 0] == pytest.approx([NAN, 37, 37.2222], nan_ok=True, abs=1e-3)


def test_the_authors_hours_lose_the_first_minute_and_the_last_hour():
    one = made([(0, "HR", 50), (60, "HR", 60), (61, "HR", 90), (121, "HR", 100), (180, "HR", 130)])
    assert hourly(one, ("HR",))[:, 0] == pytest.approx([50, 75, 100, 130])
    # Hours (0, 60] and (60, 120]: 0 lies in none, and what comes after 120 in an hour that is not whole.
    assert hourly(one, ("HR",), as_published=True)[:, 0] == pytest.approx([60, 90])


def test_the_authors_join_counts_a_value_once_for_each_of_its_neighbours():
    rows = [(0, "HR", 0), (30, "HR", 60), (30, "GCS", 3), (30, "GCS", 5), (40, "HR", 90), (200, "HR", 1)]
    assert hourly(made(rows[1:]), ("HR",))[0, 0] == pytest.approx(75)
    # At minute 30 HR stands beside two readings of GCS, in two rows.
    assert hourly(made(rows), ("HR", "GCS"), as_published=True)[0] == pytest.approx([(60 + 60 + 90) / 3, 4])


def test_without_measurements_there_are_no_hours():
    empty = Record(1, {}, np.zeros(0, np.int64), [], np.zeros(0))
    assert hourly(empty, ("HR",)).shape == (0, 1)
    assert hourly(made([(5, "HR", 1)]), ("HR",), as_published=True).shape == (0, 1)


def joined(rows, features):
    """Join all parameters on their minute, one row for each combination, then average by the authors' hours."""
    names = sorted({name for _, name, _ in rows})
    table = []
    for minute in sorted({minute for minute, _, _ in rows}):
        taken = [[v for m, n, v in rows if (m, n) == (minute, name)] or [NAN] for name in names]
        table += [(minute, dict(zip(names, values, strict=True))) for values in product(*taken)]
    edges = list(range(table[0][0], table[-1][0], 60))
    out = np.full((max(len(edges) - 1, 0), len(features)), NAN)
    for hour, (low, high) in enumerate(pairwise(edges)):
        for place, name in enumerate(features):
            found = [row.get(name, NAN) for minute, row in table if low < minute <= high]
            found = [value for value in found if not math.isnan(value)]
            if found:
                out[hour, place] = sum(found) / len(found)
    return out


ROWS = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["GCS", "HCT", "Urine"]), st.integers(1, 90)),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=120)
@given(ROWS)
def test_as_published_is_what_a_join_gives(rows):
    got = hourly(made(rows), ("GCS", "HCT"), as_published=True)
    assert got == pytest.approx(joined(rows, ("GCS", "HCT")), nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_every_value_counts_once(rows):
    got = hourly(made(rows), ("GCS",))
    first = min(minute for minute, _, _ in rows)
    for hour in range(len(got)):
        mine = [v for m, n, v in rows if n == "GCS" and (m - first) // 60 == hour]
        assert got[hour, 0] == pytest.approx(np.mean(mine) if mine else NAN, nan_ok=True)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=12), max_size=4), st.binary(max_size=60))
def test_no_text_makes_it_fail_in_another_way(tmp_path_factory, fields, rubbish):
    path = tmp_path_factory.mktemp("p") / "1.txt"
    head = b"Time,Parameter,Value\n00:00,RecordID,1\n"
    path.write_bytes(head + ",".join(fields).encode("utf-8", "surrogatepass") + b"\n" + rubbish)
    read = read_record(path, Problems())
    assert len(read.minutes) == len(read.names) == len(read.values)
    assert clock(61) == "01:01"
