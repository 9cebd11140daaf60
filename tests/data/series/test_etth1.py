"""ETTh1: the public table is enough; the authors' concatenation and shift come back on request."""

import hashlib
import random
from datetime import datetime

import numpy as np
import pytest
from downloads import transformer

from diffsda.data.problems import Problems
from diffsda.data.series import etth1
from diffsda.errors import InputError


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    root = tmp_path_factory.mktemp("ett")
    transformer(root / "ETT-small")
    return root


def build(root, **options):
    problems = Problems()
    return *etth1.build(root, problems=problems, **options), [str(p) for p in problems]


def raw(held, x):
    return x * np.array(held.options["raw_std"]) + np.array(held.options["raw_mean"])


def test_the_public_table_gives_23_months(public):
    held, parts, trouble = build(public)
    assert not trouble
    # The last month has 26 days; of the 17 months of 2017 and 2018, 85 % are 14.
    assert {split: part["x"].shape for split, part in parts.items()} == {
        "train": (14, 672, 6),
        "val": (3, 672, 6),
        "test": (6, 672, 6),
    }
    assert parts["test"]["month"].tolist() == [6, 7, 8, 9, 10, 11]
    assert set(parts["test"]["year"]) == {0}
    assert held.label_names["year"] == ("2016", "2017", "2018")


def test_clips_hold_their_hours_and_the_oil_temperature(public):
    held, parts, _ = build(public)
    for part in parts.values():
        x = raw(held, part["x"])
        assert np.allclose(x[:, :, 0], np.arange(672), atol=1e-2)
        assert np.allclose(x[:, :, 5], np.arange(672) + 5000, atol=1e-2)
        for row in range(len(x)):
            first = datetime(2016 + int(part["year"][row]), int(part["month"][row]) + 1, 1)
            since = (first - datetime(2016, 7, 1)).total_seconds() / 3600
            assert np.allclose(part["OT"][row], (since + np.arange(672)) / 100, atol=0.006)
        assert not part["mask"].any()


def test_the_order_is_the_authors(public):
    _, parts, _ = build(public, seed=5)
    order = list(range(6, 23))
    random.Random(5).shuffle(order)
    found = [(y - 0) * 12 + m - 6 for y, m in zip(parts["train"]["year"], parts["train"]["month"], strict=True)]
    assert found == order[:14]


def test_the_authors_columns_give_the_same(public, tmp_path):
    transformer(tmp_path, split=True)
    _, ours, _ = build(public)
    _, theirs, trouble = build(tmp_path)
    assert not trouble
    for split, part in ours.items():
        for name, values in part.items():
            assert np.array_equal(values, theirs[split][name]), name


def test_as_published_shifts_the_signals_alone(public):
    _, ours, _ = build(public)
    _, theirs, _ = build(public, as_published=True)
    for split, part in theirs.items():
        assert np.array_equal(part["x"], np.roll(ours[split]["x"], -140, axis=1))
        assert np.array_equal(part["OT"], ours[split]["OT"])


def test_as_published_puts_all_tables_under_each_other(tmp_path):
    transformer(tmp_path)
    transformer(tmp_path, "ETTh2.csv", offset=50_000)
    _, ours, _ = build(tmp_path)
    assert sum(len(p["x"]) for p in ours.values()) == 23
    published, theirs, _ = build(tmp_path, as_published=True)
    assert sum(len(p["x"]) for p in theirs.values()) == 24
    last = [(p, i) for p in theirs.values() for i in range(len(p["x"])) if (p["year"][i], p["month"][i]) == (2, 5)]
    part, row = last[0]
    x = np.roll(raw(published, part["x"])[row], 140, axis=0)
    # 620 hours of June 2018 at the first site, then the first 52 of the second.
    assert np.allclose(x[:620, 0], np.arange(620), atol=0.1)
    assert np.allclose(x[620:, 0], 50_000 + np.arange(52), atol=0.1)


def test_a_gap_is_told_by_line_and_masked(public, tmp_path):
    lines = (public / "ETT-small" / "ETTh1.csv").read_text().splitlines()
    for number in (101, 102, 103):
        fields = lines[number].split(",")
        lines[number] = ",".join([*fields[:2], "", *fields[3:]])
    (tmp_path / "ETTh1.csv").write_text("\n".join(lines) + "\n")
    _, parts, trouble = build(tmp_path)
    assert trouble == [f"{tmp_path / 'ETTh1.csv'}:102: HULL is missing for 3 rows, which are masked"]
    assert np.argwhere(parts["test"]["mask"]).tolist() == [[0, 100, 1], [0, 101, 1], [0, 102, 1]]


def test_many_gaps_are_told_together(public, tmp_path):
    lines = (public / "ETT-small" / "ETTh1.csv").read_text().splitlines()
    for number in range(1, 81, 2):
        fields = lines[number].split(",")
        lines[number] = ",".join([*fields[:7], "NA"])
    (tmp_path / "ETTh1.csv").write_text("\n".join(lines) + "\n")
    _, parts, trouble = build(tmp_path)
    assert len(trouble) == 21
    assert "OT is missing in 20 more places" in trouble[-1]
    assert np.isnan(parts["test"]["OT"][0]).sum() == 40


def test_dates_that_are_none_and_rows_that_are_missing_are_told(public, tmp_path):
    lines = (public / "ETT-small" / "ETTh1.csv").read_text().splitlines()
    lines[5] = lines[5].replace("2016-07-01", "first of July")
    lines[9] = lines[8]
    (tmp_path / "ETTh1.csv").write_text("\n".join(lines[:-1]) + "\n")
    _, parts, trouble = build(tmp_path)
    assert "ETTh1.csv:6: got date 'first of July 04:00:00', expected" in trouble[0]
    assert "ETTh1.csv:10: got 2016-07-01 07:00 again, first on line 9" in trouble[1]
    assert "got 17419 rows, expected 17420" in trouble[2]
    assert parts["test"]["mask"][0, 4].all()
    assert sum(len(p["x"]) for p in parts.values()) == 23


def test_another_file_of_that_name_is_told(public, tmp_path, monkeypatch):
    said = []
    etth1.build(public, problems=Problems(), tell=said.append)
    assert said == [
        "ETTh1.csv: 17420 hours",
        f"ETTh1.csv: is not the public file byte for byte (md5 {etth1.MD5})",
        "2018-06: fewer than 672 hours, left out",
    ]
    data = (public / "ETT-small" / "ETTh1.csv").read_bytes()
    monkeypatch.setattr(etth1, "MD5", hashlib.md5(data).hexdigest())
    said.clear()
    etth1.build(public, problems=Problems(), tell=said.append)
    assert len(said) == 2


def test_what_is_no_etth1_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no table, expected ETTh1\.csv"):
        build(tmp_path)
    (tmp_path / "ETTm1.csv").write_text("date,HUFL\n")
    with pytest.raises(InputError, match=r"with ETTm1\.csv, expected"):
        build(tmp_path)
    transformer(tmp_path, count=1000)
    path = tmp_path / "ETTh1.csv"
    path.write_text(path.read_text().replace("2016-07-01 01:00:00", "2016-07-01 00:15:00"))
    with pytest.raises(InputError, match="no table that can be read"):
        build(tmp_path)
    transformer(tmp_path, count=600)
    with pytest.raises(InputError, match="without a month"):
        build(tmp_path)
