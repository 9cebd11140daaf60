"""PhysioNet: the cohort, its split, what is known of patients, and the authors' own tables."""

import random

import numpy as np
import pytest
from downloads import VITALS, challenge, full_record, record

from diffsda.data.problems import Problems
from diffsda.data.series import physionet
from diffsda.data.series.parts import leave
from diffsda.data.series.physionet_record import hourly, read_record
from diffsda.errors import InputError

IDS = [132600 + 7 * i for i in range(15)]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(physionet, "RECORDS", 15)
    return challenge(tmp_path / "in", IDS)


def build(root, **options):
    problems = Problems()
    return *physionet.build(root, problems=problems, **options), [str(p) for p in problems]


def test_clips_hold_the_hours_of_their_record(root):
    held, parts, trouble = build(root)
    assert not trouble
    assert held.frames == 80
    for part in parts.values():
        assert part["x"].shape[1:] == (80, 10)
        assert part["lengths"].tolist() == [48] * len(part["x"])
        for row, number in enumerate(part["record"]):
            want = hourly(read_record(root / "set-a" / f"{number}.txt", Problems()), physionet.FEATURES)
            raw = part["x"][row] * np.array(held.options["raw_std"]) + np.array(held.options["raw_mean"])
            assert np.allclose(raw[:48], want, atol=1e-3)
            assert np.all(part["mask"][row, 48:] == 1)
            assert not part["mask"][row, :48].any()
            assert not part["x"][row, 48:].any()


def test_the_split_is_the_authors(root):
    _, parts, _ = build(root, seed=4)
    assert parts["test"]["record"].tolist() == IDS[:3]
    order = list(range(3, 15))
    random.Random(4).shuffle(order)
    assert parts["train"]["record"].tolist() == [IDS[i] for i in order[:9]]
    assert parts["val"]["record"].tolist() == [IDS[i] for i in order[9:]]


def test_labels(root):
    full_record(root, IDS[0], static={"Age": 200, "Gender": -1, "ICUType": 1, "Height": -1})
    rows = [(minute, name, value) for minute in range(0, 2880, 30) for name, value in VITALS.items()]
    record(root, IDS[1], [*rows, (610, "MechVent", 1)], static={"Gender": 1, "ICUType": 4})
    held, parts, _ = build(root)
    test = parts["test"]
    assert test["gender"].tolist() == [-1, 1, 0]
    assert test["icu_type"].tolist() == [0, 3, 2]
    assert held.label_names["icu_type"][0] == "coronary care unit"
    assert test["age"].tolist() == pytest.approx([91.4, 54, 54])
    assert test["height"].tolist() == pytest.approx([np.nan, 170.2, 170.2], nan_ok=True)
    assert test["saps_i"].tolist() == [n % 20 for n in IDS[:3]]
    assert test["sofa"].tolist() == [n % 9 for n in IDS[:3]]
    assert test["death"].tolist() == [n % 2 for n in IDS[:3]]
    assert test["mech_vent"][1].tolist() == [0] * 10 + [1] + [0] * 37 + [-1] * 32
    assert test["mech_vent"].shape == (3, 80)


def test_short_and_empty_records_are_left_out(root):
    full_record(root, IDS[0], last=38 * 60)
    record(root, IDS[1], [(minute, "HR", 80) for minute in range(0, 2880, 60)])
    record(root, IDS[2], [])
    _, parts, trouble = build(root)
    kept = sorted(number for part in parts.values() for number in part["record"].tolist())
    assert kept == IDS[3:]
    assert not trouble


@pytest.mark.parametrize(
    ("hours", "names", "kept"),
    [
        (40, list(VITALS), True),
        (39, list(VITALS), False),
        (40, list(VITALS)[:4], True),
        (40, list(VITALS)[-4:], True),
        (40, list(VITALS)[:3], False),
    ],
)
def test_what_is_enough(root, hours, names, kept):
    rows = [(60 * h, name, VITALS[name]) for h in range(hours) for name in names]
    record(root, IDS[0], rows)
    _, parts, _ = build(root)
    assert (IDS[0] in np.concatenate([part["record"] for part in parts.values()])) is kept


def test_missing_is_masked_and_not_measured(root):
    rows = [(m, n, v) for m in range(0, 2880, 30) for n, v in VITALS.items() if (n, m // 60) != ("Temp", 5)]
    record(root, IDS[0], rows)
    _, parts, _ = build(root)
    assert np.argwhere(parts["test"]["mask"][0, :48]).tolist() == [[5, 9]]
    assert parts["test"]["x"][0, 5, 9] == 0
    x, mask = parts["train"]["x"], parts["train"]["mask"]
    for f in range(10):
        assert x[..., f][mask[..., f] == 0].std(ddof=1) == pytest.approx(1, abs=1e-4)


def test_as_published_has_the_authors_hours_and_no_lengths(root):
    _, ours, _ = build(root)
    held, theirs, _ = build(root, as_published=True)
    assert held.options["as_published"] is True
    assert "lengths" in ours["train"]
    assert "lengths" not in theirs["train"]
    # Minutes 7 to 2827: 47 edges an hour apart from 7 on, 46 whole hours between them.
    assert np.flatnonzero(theirs["test"]["mask"][0].all(1)).tolist() == list(range(46, 80))


def test_the_authors_tables_are_read(root, tmp_path):
    held, ours, _ = build(root, as_published=True)
    other = tmp_path / "tables"
    other.mkdir()
    rows, static = [], []
    names = (*physionet.FEATURES, "MechVent")
    for number in IDS:
        one = read_record(root / "set-a" / f"{number}.txt", Problems())
        for hour, values in enumerate(hourly(one, names, as_published=True)):
            cells = ["" if np.isnan(v) else repr(float(v)) for v in values]
            rows.append(",".join([str(len(rows)), str(7 + 60 * hour), str(number), *cells, "", "83.0"]))
        static.append(",".join(map(str, [number, 54.0, 0.0, 170.2, 3.0, number, 80.5])))
    head = ",".join(["", "time", "recordid", *names, "HR", "Weight"])
    (other / "processed_df.csv").write_text("\n".join([head, *rows]) + "\n")
    (other / "processed_static_df.csv").write_text(
        "\n".join(["recordid,Age,Gender,Height,ICUType,RecordID,Weight", *static]) + "\n"
    )
    (other / "Outcomes-a.txt").write_text((root / "Outcomes-a.txt").read_text())
    read, theirs, trouble = build(other, as_published=True)
    assert not trouble
    assert (held.options["read"], read.options["read"]) == ("records", "processed_df.csv")
    for split, part in ours.items():
        for name, values in part.items():
            assert np.allclose(values, theirs[split][name], atol=1e-5, equal_nan=True), name


def test_trouble_is_told_and_the_rest_goes_on(root):
    (root / "set-a" / "1.txt").write_text("rubbish")
    (root / "set-a" / "999.txt").write_text((root / "set-a" / f"{IDS[0]}.txt").read_text())
    (root / "set-a" / f"{IDS[4]}.txt").unlink()
    text = (root / "Outcomes-a.txt").read_text().splitlines()
    (root / "Outcomes-a.txt").write_text("\n".join([*text[:2], text[1], *text[2:-1]]) + "\n")
    _, parts, trouble = build(root)
    assert sum(len(p["x"]) for p in parts.values()) == 14
    said = "\n".join(trouble)
    assert "1.txt:1: got 'rubbish', expected Time,Parameter,Value" in said
    assert f"999.txt: got record {IDS[0]} again, first in {IDS[0]}.txt" in said
    assert "got 14 records, expected 15" in said
    assert f"Outcomes-a.txt:3: got record {IDS[0]} again, first on line 2" in said
    assert f"got no outcome of record {IDS[-1]}" in said
    assert len(trouble) == 5
    lost = [p["death"][p["record"] == IDS[-1]] for p in parts.values() if IDS[-1] in p["record"]]
    assert lost[0].tolist() == [-1]


def test_without_outcomes_the_clips_are_still_made(root):
    (root / "Outcomes-a.txt").unlink()
    _, parts, trouble = build(root)
    assert len(trouble) == 1
    assert "Outcomes-a.txt: " in trouble[0]
    assert set(parts["train"]["death"]) == {-1}


def test_the_outcomes_of_another_set_are_told_once(root):
    lines = (root / "Outcomes-a.txt").read_text().splitlines()
    (root / "Outcomes-a.txt").write_text("\n".join([lines[0], "9,1,1,1,1,1"]) + "\n")
    _, parts, trouble = build(root)
    assert [line.split(": ")[1] for line in trouble] == ["got no outcome of any record, expected those of set-a"]
    assert set(parts["train"]["sofa"]) == {-1}


def test_what_is_no_download_is_refused(tmp_path):
    with pytest.raises(InputError, match="without a folder set-a, expected PhysioNet challenge-2012"):
        build(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        build(tmp_path / "none")
    (tmp_path / "set-a").mkdir()
    with pytest.raises(InputError, match="without a record of 40 hours"):
        build(tmp_path)


def test_what_is_left_is_a_prepared_folder(root, tmp_path):
    from diffsda.data.prepared import open_prepared

    problems = Problems()
    held = leave(tmp_path / "out", *physionet.build(root, problems=problems), problems)
    assert held.splits == {"train": 9, "val": 3, "test": 3}
    clips = open_prepared(tmp_path / "out", "test")
    assert clips.x.shape == (3, 80, 10)
    assert clips.lengths.tolist() == [48, 48, 48]
    assert set(clips.labels) == {"record", "gender", "icu_type", "mech_vent", "saps_i", "sofa", "death"}
    assert not clips.mask[:, 48:].any(), "padding is told by lengths"
