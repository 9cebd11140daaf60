"""Air quality: clips are four weeks of a month at a station, where their dates say, split as published."""

import random
from datetime import datetime

import numpy as np
import pytest
from downloads import air_station, air_value

from diffsda.data.problems import Problems
from diffsda.data.series import airq
from diffsda.data.series.parts import leave
from diffsda.errors import InputError

START = datetime(2013, 3, 1)
YEAR = [(START, 24 * 31), (datetime(2014, 5, 1), 24 * 31), (datetime(2015, 2, 1), 24 * 28)]
SPANS = [*YEAR, (datetime(2016, 1, 1), 24 * 31), (datetime(2017, 2, 1), 24 * 28)]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(airq, "STATIONS", 2)
    air_station(tmp_path / "in", 2000, "Dingling", SPANS, missing={(datetime(2013, 3, 2, 5), 1), (START, 9)})
    air_station(tmp_path / "in", 5000, "Aotizhongxin", SPANS)
    return tmp_path / "in"


def raw(held, part, name):
    options = held.options
    return part[name] * np.array(options["raw_std"]) + np.array(options["raw_mean"])


def test_clips_hold_their_months(root):
    problems = Problems()
    held, parts = airq.build(root, problems=problems)
    assert not len(problems)
    assert {split: part["x"].shape for split, part in parts.items()} == {
        "train": (6, 672, 10),
        "val": (2, 672, 10),
        "test": (2, 672, 10),
    }
    assert held.label_names["station"] == ("Aotizhongxin", "Dingling")
    assert (held.frames, held.channels) == (672, 10)
    for part in parts.values():
        x = raw(held, part, "x")
        for row in range(len(x)):
            station = {0: 5000, 1: 2000}[int(part["station"][row])]
            first = datetime(2013 + int(part["year"][row]), 1 + int(part["month"][row]), 1)
            # Column 9 of the file is rain, which is no input; wind speed comes after it.
            want = [air_value(station, first, c) for c in (*range(9), 10)]
            assert np.allclose(np.where(part["mask"][row, 0] == 1, want, x[row, 0]), want, atol=2e-2)
            assert x[row, 671, 0] - x[row, 0, 0] == pytest.approx(671, abs=0.1)
            assert part["day"][row].tolist() == [1 + hour // 24 for hour in range(672)]


def test_missing_values_are_masked_and_rain_goes_along(root):
    _, parts = airq.build(root, problems=Problems())
    part = next(p for p in parts.values() if np.any((p["station"] == 1) & (p["year"] == 0)))
    row = int(np.flatnonzero((part["station"] == 1) & (part["year"] == 0))[0])
    assert np.argwhere(part["mask"][row]).tolist() == [[29, 1]], "PM10 of the second day at 5 o'clock"
    assert part["x"][row, 29, 1] == 0
    assert np.flatnonzero(np.isnan(part["rain"][row])).tolist() == [0]
    assert part["rain"][row, 1] == pytest.approx(air_value(2000, datetime(2013, 3, 1, 1), 9), abs=0.01)
    assert sum(p["mask"].sum() for p in parts.values()) == 1


def test_2016_is_the_test_part_and_the_rest_is_shuffled_as_published(root):
    _, parts = airq.build(root, problems=Problems(), seed=3)
    assert set(parts["test"]["year"]) == {3}
    # By year, month and station; the test part takes rows 6 and 7.
    order = [0, 1, 2, 3, 4, 5, 8, 9]
    random.Random(3).shuffle(order)
    every = [(year, station) for year in (0, 1, 2, 3, 4) for station in (0, 1)]
    for split, rows in (("train", order[:6]), ("val", order[6:])):
        found = list(zip(parts[split]["year"].tolist(), parts[split]["station"].tolist(), strict=True))
        assert found == [every[row] for row in rows]


def test_only_training_values_are_measured(root):
    _, parts = airq.build(root, problems=Problems())
    x = parts["train"]["x"]
    known = parts["train"]["mask"] == 0
    assert x[known].mean() == pytest.approx(0, abs=1e-5)
    assert [x[..., f][known[..., f]].std(ddof=1) for f in range(10)] == pytest.approx([1] * 10, abs=1e-4)


def test_as_published_turns_the_signals_alone(root):
    plain, ours = airq.build(root, problems=Problems())
    published, theirs = airq.build(root, problems=Problems(), as_published=True)
    assert (plain.options["as_published"], published.options["as_published"]) == (False, True)
    for split, part in theirs.items():
        assert np.array_equal(part["x"], np.concatenate([ours[split]["x"][:, 576:], ours[split]["x"][:, :576]], 1))
        for name in ("mask", "day", "rain", "month"):
            assert np.array_equal(part[name], ours[split][name], equal_nan=name == "rain")


def test_rows_out_of_order_and_a_gap_are_put_right(root):
    path = next(root.glob("*Dingling*"))
    head, *lines = path.read_text().splitlines()
    del lines[40]
    path.write_text("\n".join([head, *lines[::-1]]) + "\n")
    whole, gap = airq.build(root, problems=Problems())
    part = next(p for p in gap.values() if np.any((p["station"] == 1) & (p["year"] == 0)))
    row = int(np.flatnonzero((part["station"] == 1) & (part["year"] == 0))[0])
    assert part["mask"][row, 40].all()
    assert part["day"][row, 40] == -1
    # Row 50 lies where its date says, although a row before it is missing.
    assert raw(whole, part, "x")[row, 50, 0] == pytest.approx(air_value(2000, datetime(2013, 3, 3, 2), 0), abs=0.02)


def test_trouble_is_told_by_file_and_line_and_the_rest_goes_on(root):
    path = next(root.glob("*Dingling*"))
    lines = path.read_text().splitlines()
    lines[10] = lines[9]
    lines[20] = lines[20].replace(",2013,3,", ",2013,13,")
    lines[30] = lines[30].replace(",2013,", ",2013,oops,", 1)
    lines[33] = lines[33].replace(lines[33].split(",")[5], "wet", 1)
    path.write_text("\n".join(lines) + "\n")
    problems = Problems()
    _, parts = airq.build(root, problems=problems)
    assert sorted((p.line, p.reason.split(",")[0]) for p in problems) == [
        (11, "got 2013-03-01 08:00 again"),
        (21, "got month 13"),
        (31, "got 19 fields"),
        (34, "got PM2.5 'wet'"),
    ]
    assert all(p.path == str(path) for p in problems)
    assert sum(len(p["x"]) for p in parts.values()) == 10


def test_a_station_that_is_missing_or_spoiled_is_told(root):
    path = next(root.glob("*Dingling*"))
    path.write_text(path.read_text().replace("DEWP", "DewPoint", 1))
    problems = Problems()
    held, _ = airq.build(root, problems=problems)
    assert held.label_names["station"] == ("Aotizhongxin",)
    told = [str(p) for p in problems]
    assert "expected one called 'DEWP'" in told[0]
    assert "got 1 stations, expected 2" in told[1]
    path.unlink()
    next(root.glob("*.csv")).unlink()
    with pytest.raises(InputError, match="UCI data set 501"):
        airq.build(root, problems=Problems())


def test_a_station_that_comes_twice_is_left_out_once(root):
    text = next(root.glob("*Aoti*")).read_text()
    (root / "PRSA_Data_Copy_20130301-20170228.csv").write_text(text)
    problems = Problems()
    _, parts = airq.build(root, problems=problems)
    assert "got station 'Aotizhongxin' again" in next(iter(problems)).reason
    assert sum(len(p["x"]) for p in parts.values()) == 10


def test_a_month_too_short_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(airq, "STATIONS", 1)
    air_station(tmp_path, 1, "Aotizhongxin", [(START, 671), *SPANS[1:]])
    said = []
    _, parts = airq.build(tmp_path, problems=Problems(), tell=said.append)
    assert sum(len(p["x"]) for p in parts.values()) == 4
    assert "Aotizhongxin 2013-03: fewer than 672 hours, left out" in said


def test_what_is_left_is_a_prepared_folder(root, tmp_path):
    from diffsda.data.prepared import open_prepared

    problems = Problems()
    leave(tmp_path / "out", *airq.build(root, problems=problems), problems)
    clips = open_prepared(tmp_path / "out", "train")
    assert clips.x.shape == (6, 672, 10)
    assert set(clips.labels) == {"year", "month", "station", "day"}
    assert clips.label_names["month"][2] == "March"
    assert clips.mask is not None
