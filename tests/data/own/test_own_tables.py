"""A folder of tables becomes series: each on one side, in order, what is missing marked, what is wrong named."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffsda.data.own.prepare import prepare_own
from diffsda.data.own.settings import Settings
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.registry import open_clips
from diffsda.errors import InputError


def table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, row)) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def walks(ids=12, steps=10, start=0):
    """Return rows (id, time, a, b) whose values say which row they are."""
    return [(f"s{i}", t, 100 * i + t, -t / 2) for i in range(start, start + ids) for t in range(steps)]


def prepare(source, out, **options):
    problems, told = Problems(), []
    made = prepare_own(Settings(source=source, name=source.stem, **options), out, problems=problems, tell=told.append)
    return made, [str(p).replace(str(source), "") for p in problems], "\n".join(told)


def series_of(out):
    """Return the values of each clip by its series, over all splits."""
    held = {}
    for split in Dataset.read(out).splits:
        clips = open_clips(out, split)
        lengths = clips.lengths if clips.lengths is not None else [clips.frames] * len(clips)
        for x, length, code in zip(clips.x, lengths, clips.labels["id"]):
            held.setdefault(clips.label_names["id"][code], []).append((split, x[:length]))
    return held


def test_series_come_whole_and_each_on_one_side(tmp_path):
    rows = [row for i, row in enumerate(walks()) if i % 10 < 10 - i // 10 % 3]  # lengths 10, 9, 8
    source = table(tmp_path / "mine" / "all.csv", ("who", "t", "a", "b"), rows).parent
    made, said, told = prepare(source, tmp_path / "out", id="who")
    assert not said
    assert made.dataset.splits == {"train": 10, "val": 1, "test": 1}
    assert (made.dataset.modality, made.dataset.frames, made.dataset.channels) == ("series", None, 2)
    held = series_of(tmp_path / "out")
    assert sorted(held) == sorted(f"s{i}" for i in range(12))
    for i in range(12):
        [(_, x)] = held[f"s{i}"]
        assert x[:, 0].tolist() == [100 * i + t for t in range(10 - i % 3)]
        assert np.array_equal(x[:, 1], -np.arange(len(x)) / 2)
    assert "column 't' (guessed" in told
    train = open_clips(tmp_path / "out", "train")
    known = np.concatenate([x[:n] for x, n in zip(train.x, train.lengths)])
    assert np.allclose(made.dataset.statistics[0], known.mean(0, dtype=np.float64))
    assert np.allclose(made.dataset.statistics[1], known.std(0, dtype=np.float64))


def test_the_same_command_gives_the_same_and_another_seed_another_split(tmp_path):
    source = table(tmp_path / "mine.csv", ("id", "t", "a", "b"), walks(30))
    for out in ("one", "two"):
        prepare(source, tmp_path / out)
    prepare(source, tmp_path / "three", seed=1)
    for name in ("dataset.json", "train.npz", "val.npz", "recipe.json"):
        one, two, three = ((tmp_path / out / name).read_bytes() for out in ("one", "two", "three"))
        assert one == two
        assert (one == three) is (name == "recipe.json")


def test_long_series_are_cut_into_windows_and_one_series_is_split_in_time(tmp_path):
    rows = [(t, t * 0.5) for t in range(100)]
    source = table(tmp_path / "mine.csv", ("time", "v"), rows)
    made, said, told = prepare(source, tmp_path / "out", frames=16)
    assert (said, made.dataset.frames) == ([], 16)
    assert made.dataset.splits == {"train": 4, "val": 1, "test": 1}
    assert "4 rows at the ends" in told
    values = np.concatenate([open_clips(tmp_path / "out", s).x.ravel() for s in ("train", "val", "test")])
    assert np.array_equal(values, 0.5 * np.arange(96)), "in time: train, val, test"
    made, _, told = prepare(source, tmp_path / "guessed")
    assert made.dataset.frames == 16
    assert "windows of 16 rows" in told


def test_files_without_ids_are_series_and_folders_are_splits(tmp_path):
    for split, count in (("train", 4), ("val", 1), ("test", 2)):
        for i in range(count):
            table(tmp_path / "mine" / split / f"{i}.csv", ("t", "a"), [(t, 10 * count + i + t) for t in range(9)])
    table(tmp_path / "mine" / "loose.csv", ("t", "a"), [(t, -t) for t in range(9)])
    made, said, _ = prepare(tmp_path / "mine", tmp_path / "out", frames=9)
    assert made.dataset.splits == {"train": 4, "val": 1, "test": 2}
    assert said == ["/loose.csv: lies in none of the folders train, val and test; left out"]
    assert sorted(series_of(tmp_path / "out"))[0] == "test/0"


def test_an_id_in_two_splits_is_left_out_of_the_later(tmp_path):
    table(tmp_path / "mine" / "train" / "a.csv", ("id", "t", "a", "b"), walks(9))
    table(tmp_path / "mine" / "test" / "b.csv", ("id", "t", "a", "b"), walks(3, start=8))
    made, said, _ = prepare(tmp_path / "mine", tmp_path / "out")
    assert made.dataset.splits == {"train": 9, "test": 2}
    assert said == ["/test/b.csv:2: series 's8' is in train already; left out of test"]


def test_everything_wrong_is_named_by_file_and_line(tmp_path):
    rows = walks(10)
    rows[3] = ("s0", 3, "oops", -1.5)  # line 5
    rows[4] = ("s0", 4, "", "")  # missing: no problem
    rows[12] = ("s1", "later", 102, -1)  # line 14
    rows[13] = ("", 3, 103, -1.5)  # line 15
    rows[25] = ("s2", 4, 999, 0)  # line 27: the time of line 26
    rows[30:40] = [("s3", 0, 300, 0)]  # line 32: too short
    rows.append(("s9", 99, "inf", 1))
    source = table(tmp_path / "mine.csv", ("id", "t", "a", "b"), rows)
    made, said, told = prepare(source, tmp_path / "out")
    assert said == [
        ":5: column 'a' holds 'oops', expected a number (to 1e+30); taken as missing",
        f":{len(rows) + 1}: column 'a' holds 'inf', expected a number (to 1e+30); taken as missing",
        ":14: column 't' holds 'later', expected a time; the row is left out",
        ":15: column 'id' holds '', expected an id; the row is left out",
        ":27: 's2' has a row for this time already (:26); left out",
        ":32: series 's3' is 1 rows long, expected at least 2; left out",
    ]
    held = series_of(tmp_path / "out")
    assert "s3" not in held
    assert len(held["s1"][0][1]) == 8
    assert held["s2"][0][1][4, 0] == 204, "the first of two rows stays"
    assert "uneven steps" in told
    total = sum(made.dataset.splits.values())
    assert total == 9
    lines = (tmp_path / "out" / "problems.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == [5, len(rows) + 1, 14, 15, 27, 32]


def test_missing_values_are_masked_and_never_counted(tmp_path):
    rows = [(i, t, "" if t in (3, 4, 5) else 7 + t % 2, "NaN") for i in range(9) for t in range(10)]
    rows = [(*row[:3], 1.5) if row[0] else row for row in rows]
    source = table(tmp_path / "mine.csv", ("id", "t", "a", "b"), rows)
    made, said, told = prepare(source, tmp_path / "out")
    assert not said
    assert f"missing: {9 * 3 + 10} of 180 values" in told
    for split in made.dataset.splits:
        clips = open_clips(tmp_path / "out", split)
        first = clips.labels["id"] == 0
        assert (clips.mask[:, 3:6, 0] == 1).all()
        assert clips.mask[:, [0, 1, 2, 6, 7, 8, 9], 0].sum() == 0
        assert (clips.mask[first, :, 1] == 1).all()
        assert (clips.mask[~first, :, 1] == 0).all()
    assert made.dataset.statistics[0][0] == pytest.approx((3 * 8 + 4 * 7) / 7)
    assert "column 'b' hardly varies" in told


def test_a_moving_schema_is_named(tmp_path):
    folder = tmp_path / "mine"
    table(folder / "1.csv", ("id", "t", "a", "b"), walks(4))
    table(folder / "2.csv", ("b", "a", "t", "id"), [row[::-1] for row in walks(4, start=4)])
    table(folder / "3.csv", ("id", "t", "a", "c"), walks(4, start=8))
    table(folder / "4.csv", ("id", "t", "a", "b", "more"), [(*row, 0) for row in walks(4, start=12)])
    made, said, _ = prepare(folder, tmp_path / "out", val_share=0, test_share=0)
    assert said == [
        "/3.csv:1: lacks 'b', which /1.csv has; the file is left out",
        "/4.csv:1: has 'more', which /1.csv lacks; left out",
    ]
    held = series_of(tmp_path / "out")
    assert sorted(held) == sorted(f"s{i}" for i in (0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15))
    assert held["s5"][0][1][2].tolist() == [502, -1], "columns go by name, not by place"
    assert made.dataset.splits == {"train": 12}


def test_rows_out_of_order_are_sorted(tmp_path):
    rows = walks(9)
    straight = table(tmp_path / "straight.csv", ("id", "t", "a", "b"), rows)
    mixed = table(
        tmp_path / "mixed.csv", ("id", "t", "a", "b"), [rows[i] for i in np.random.default_rng(0).permutation(90)]
    )
    prepare(straight, tmp_path / "one")
    _, said, told = prepare(mixed, tmp_path / "two")
    assert not said
    assert "sorted by time" in told
    one, two = series_of(tmp_path / "one"), series_of(tmp_path / "two")
    assert all(np.array_equal(one[key][0][1], two[key][0][1]) for key in one)


def test_words_are_labels_where_they_do_not_change(tmp_path):
    rows = [(f"p{i}", t, t + i, "fm"[i % 2], "ab"[t % 2], "x") for i in range(9) for t in range(6)]
    source = table(tmp_path / "mine.csv", ("patient", "t", "v", "sex", "mood", "mask"), rows)
    _, _, told = prepare(source, tmp_path / "out", id="patient")
    clips = open_clips(tmp_path / "out", "train")
    assert set(clips.labels) == {"id", "sex", "mask_"}
    names = clips.label_names
    said = [(names["id"][i], names["sex"][s]) for i, s in zip(clips.labels["id"], clips.labels["sex"])]
    assert all(sex == "fm"[int(who[1:]) % 2] for who, sex in said)
    assert f"column 'mood' holds words that change within a series ({source}:" in told


@pytest.mark.parametrize(
    ("header", "rows", "options", "id", "time"),
    [
        (("subject", "date", "a", "b"), walks(), {}, "subject", "date"),
        (("machine_id", "timestamp", "a", "b"), walks(), {}, "machine_id", "timestamp"),
        (("place", "when_time", "a", "b"), walks(), {}, "place", "when_time"),
        (("x1", "x2", "a", "b"), walks(), {"id": "x1", "time": "x2"}, "x1", "x2"),
        (("x1", "x2", "a", "b"), walks(), {"id": "x1"}, "x1", None),
        (("", "id", "t", "a"), [(n, *row[:3]) for n, row in enumerate(walks())], {}, "id", "t"),
    ],
)
def test_columns_are_guessed_by_what_they_are_called_and_hold(tmp_path, header, rows, options, id, time):
    source = table(tmp_path / "mine.csv", header, rows)
    made, _, _ = prepare(source, tmp_path / "out", **options)
    assert (made.dataset.options["id"], made.dataset.options["time"]) == (id, time)
    assert "column 1" not in made.dataset.options["features"]


@pytest.mark.parametrize(
    ("header", "rows", "options", "reason"),
    [
        (("who", "t", "a", "b"), walks(), {"id": "woh"}, "--id: got 'woh'.*did you mean 'who'"),
        (("id", "t", "a", "b"), walks(), {"time": "z"}, "--time: got 'z', expected one of id, t, a, b"),
        (("id", "t", "a"), [(*row[:2], "w") for row in walks()], {}, "no column holds numbers"),
        (("id", "t", "a", "b"), walks(), {"frames": 1}, "--frames: got 1"),
        (("id", "t", "a", "b"), walks(), {"frames": 11}, "no clip is left for training"),
        (("id", "t", "a", "b"), walks(), {"val_share": 0.6, "test_share": 0.4}, "expected a sum below 1"),
        (("t", "a"), [(t, t) for t in range(20)], {}, "expected at least 32 rows"),
        (("u", "v", "t", "a"), [(*row[:1] * 2, *row[1:3]) for row in walks()], {}, "'u', 'v' could each tell series"),
        (("x", "t", "a", "b"), [(i, *row[1:]) for i, row in enumerate(walks())], {}, "120 rows have 10 times by 't'"),
        (("id", "t", "a", "b"), walks(), {"time": "t,u"}, "--time: got 'u'"),
        (("id", "t", "a", "b"), [("s", "x", 1, 2)] * 3, {"id": "id", "time": "t"}, "no row can be used"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(tmp_path, header, rows, options, reason):
    source = table(tmp_path / "mine.csv", header, rows)
    with pytest.raises(InputError, match=reason) as caught:
        prepare(source, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_a_finished_folder_is_only_replaced_on_request(tmp_path):
    source = table(tmp_path / "mine.csv", ("id", "t", "a", "b"), walks())
    prepare(source, tmp_path / "out")
    with pytest.raises(InputError, match="pass --overwrite"):
        prepare(source, tmp_path / "out", seed=2)
    recipe = tmp_path / "out" / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"width": 16', '"width": 24'))
    made, _, told = prepare(source, tmp_path / "out", seed=2, overwrite=True)
    assert made.dataset.options["seed"] == 2
    assert "was changed by hand and stays" in told
    assert json.loads(recipe.read_text())["backbone"]["width"] == 24


def test_parquet_with_dates_is_a_table_too(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(walks(9), columns=["id", "t", "a", "b"])
    frame["t"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["t"], unit="h")
    (tmp_path / "mine").mkdir()
    frame.to_parquet(tmp_path / "mine" / "t.parquet")
    made, said, _ = prepare(tmp_path / "mine", tmp_path / "out")
    assert (said, made.dataset.options["time"], sum(made.dataset.splits.values())) == ([], "t", 9)


@pytest.mark.parametrize(
    ("header", "moment", "time"),
    [
        ("Date;Time", lambda t: f"{t // 24 + 1:02d}/03/2004;{t % 24:02d}.00.00".replace(".", ":"), "Date,Time"),
        ("year;month;day;hour", lambda t: f"2013;{1 + t // 240};{1 + t % 240 // 24};{t % 24}", "year,month,day,hour"),
        ("hour;day;month;Year", lambda t: f"{t % 24}.0;{1 + t // 24}.0;2;2013.0", "Year,month,day,hour"),
    ],
)
def test_several_columns_may_say_when(tmp_path, header, moment, time):
    hours = list(range(100))
    rows = [f"{moment(t)};{t},5;;" for t in reversed(hours)]
    source = tmp_path / "mine.csv"
    source.write_text("\n".join([f"{header};CO(GT);;", *rows]) + "\n")
    made, said, told = prepare(source, tmp_path / "out", frames=10, val_share=0, test_share=0.1)
    assert (said, made.dataset.options["time"]) == ([], time)
    assert made.dataset.options["features"] == ["CO(GT)"]
    assert "left out, without any value: 'column " in told
    assert "uneven" not in told
    values = open_clips(tmp_path / "out", "train").x.ravel()
    assert values.tolist() == [t + 0.5 for t in range(90)]
    made, _, _ = prepare(source, tmp_path / "named", frames=10, time=time)
    assert made.dataset.options["time"] == time


def test_what_was_prepared_is_not_read_again_as_input(tmp_path):
    source = table(tmp_path / "mine" / "a.csv", ("id", "t", "a", "b"), walks()).parent
    for _ in range(2):
        made, _, _ = prepare(source, source / "out", overwrite=True)
        assert sum(made.dataset.splits.values()) == 12
    assert Path(made.command.split()[2]).is_file()
