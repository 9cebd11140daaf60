"""A folder of videos becomes a prepared one: every file looked at once, trouble told by name, nothing done twice."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from diffsda.data.prepared import Dataset, open_prepared
from diffsda.data.problems import Problems
from diffsda.data.stream import Take
from diffsda.data.video import prepare
from diffsda.data.video.encode import Encoding
from diffsda.data.video.entry import read_entries
from diffsda.data.video.prepare import About, Shares, prepare_video
from diffsda.errors import InputError

ABOUT = About(name="mine", frames=8, size=32)


@pytest.fixture
def folder(films, tmp_path):
    """Hold seven good videos and four that are not."""
    place = tmp_path / "films"
    for name in ("vp9.mp4", "vp9.webm", "h264.mp4", "mjpeg.avi", "uneven.mp4", "sound.mp4"):
        (place / name[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy(films[name], place / name[0] / name)
    films.write(place / "v" / "large.mp4", films.smooth(12, 96, 128), "libvpx-vp9")
    films.write(place / "v" / "short.mp4", films.smooth(5), "libvpx-vp9")
    content = films["h264.mp4"].read_bytes()
    (place / "v" / "cut.mp4").write_bytes(content[: len(content) // 2])
    (place / "v" / "empty.mp4").touch()
    (place / "v" / "garbage.mp4").write_bytes(bytes(range(256)) * 8)
    return place


@pytest.fixture
def counted(monkeypatch):
    """Count the files that are looked at."""
    seen = []
    real = prepare.examine

    def examine(item, *rest):
        seen.append(item.key)
        return real(item, *rest)

    monkeypatch.setattr(prepare, "examine", examine)
    return seen


def run(folder, out, about=ABOUT, **options):
    problems, told = Problems(), []
    made = prepare_video(folder, out, about, jobs=0, problems=problems, tell=told.append, **options)
    return made, problems, told


def rows(out, *splits):
    return [row for split in splits for row in read_entries(out / f"{split}.jsonl")]


def test_a_set_is_indexed(folder, tmp_path):
    made, problems, told = run(folder, tmp_path / "out")
    assert Dataset.read(tmp_path / "out") == made
    assert (made.kind, made.name, made.modality, made.frames, made.size) == ("video", "mine", "video", 8, 32)
    assert made.splits == {"train": 5, "val": 1, "test": 1}
    assert made.label_names == {"class": ("h", "m", "s", "u", "v")}
    held = rows(tmp_path / "out", "train", "val", "test")
    assert {row.path.name for row in held} == {
        *("vp9.mp4", "vp9.webm", "h264.mp4", "mjpeg.avi", "uneven.mp4", "sound.mp4", "large.mp4")
    }
    assert all(row.path.is_file() for row in held)
    assert {row.path.name: row.frames for row in held}["large.mp4"] == 12
    assert all(made.label_names["class"][row.labels["class"]] == row.path.name[0] or row.frames == 12 for row in held)
    reasons = {problem.path.rpartition("/")[2]: problem.reason for problem in problems}
    assert sorted(reasons) == ["cut.mp4", "empty.mp4", "garbage.mp4", "short.mp4"]
    assert reasons["short.mp4"] == "has 5 frames, expected at least 8, a clip's"
    assert reasons["garbage.mp4"].startswith("cannot be decoded as video")
    kept = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    assert len(kept) == 4
    notes = dict(line.split(": ", 1) for line in told)
    assert notes["sizes"].startswith("6 96x72, 1 128x96: frames are scaled")
    assert notes["timing"].startswith("1 of 7 videos")
    assert notes["codecs"] == "4 vp9, 2 h264, 1 mjpeg"


def test_a_set_can_be_trained_on(folder, tmp_path):
    run(folder, tmp_path / "out")
    stream = open_prepared(tmp_path / "out", "train")
    clips = next(iter(stream.batches([[Take(item, 1) for item in range(len(stream))]])))
    assert clips.shape == (5, 8, 3, 32, 32)


@pytest.mark.parametrize("codec", ["vp9", "mjpeg"])
def test_a_set_is_written_anew(folder, films, tmp_path, codec):
    made, problems, told = run(folder, tmp_path / "out", encoding=Encoding(codec=codec, gop=4, size=32))
    held = rows(tmp_path / "out", "train", "val", "test")
    assert len(held) == 7
    assert len(problems) == 4
    assert {row.codec for row in held} == {codec}
    assert {min(row.width, row.height) for row in held} == {32}
    assert made.options["encoding"] == {"codec": codec, "gop": 4, "size": 32}
    assert all(row.path.is_relative_to(tmp_path / "out" / "videos") for row in held)
    text = (tmp_path / "out" / "train.jsonl").read_text()
    assert str(tmp_path) not in text, "a folder that can be moved"
    assert not any(line.startswith(("timing", "colours")) for line in told)
    (tmp_path / "out").rename(tmp_path / "moved")
    stream = open_prepared(tmp_path / "moved", "val")
    assert next(iter(stream.batches([[Take(0)]]))).shape == (1, 8, 3, 32, 32)


def test_folders_of_pictures_become_videos(films, tmp_path):
    from PIL import Image

    frames = films.smooth(10)
    for i, picture in enumerate(frames):
        for clip, kind in (("one", "jpg"), ("two", "png")):
            path = tmp_path / "films" / clip / f"{i}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path, quality=95)
    made, problems, _ = run(tmp_path / "films", tmp_path / "out", shares=Shares(val=0, test=0))
    assert made.splits == {"train": 2}
    assert not len(problems)
    held = rows(tmp_path / "out", "train")
    assert [(row.path.name, row.frames, row.codec) for row in held] == [
        ("one.mp4", 10, "mjpeg"),
        ("two.mp4", 10, "mjpeg"),
    ]
    stream = open_prepared(tmp_path / "out", "train", None, loader="pyav")
    blue = (next(iter(stream.batches([[Take(0), Take(1)]])))[:, :, 2].mean((-1, -2)) + 1) * 127.5
    assert np.abs(blue - np.arange(8) * 255 / 9).max() < 5.5


def test_sub_folders_keep_their_splits_and_labels(films, tmp_path):
    for i, name in enumerate(("train/walk/a", "train/run/b", "val/run/c", "test/walk/d")):
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        films.write(tmp_path / "films" / f"{name}.mp4", films.smooth(8 + i), "libvpx-vp9")
    made, problems, _ = run(tmp_path / "films", tmp_path / "out", shares=Shares(val=0.5, test=0.4))
    assert made.splits == {"train": 2, "val": 1, "test": 1}
    assert made.options["shares"] is None
    assert [row.path.name for row in rows(tmp_path / "out", "train", "val", "test")] == [
        "b.mp4",
        "a.mp4",
        "c.mp4",
        "d.mp4",
    ]
    assert open_prepared(tmp_path / "out", "test").labels()["class"].tolist() == [1]
    assert not len(problems)


def test_the_same_seed_deals_the_same(folder, tmp_path):
    splits = []
    for number, seed in enumerate((0, 0, 5)):
        run(folder, tmp_path / str(number), shares=Shares(val=0.3, test=0.3, seed=seed))
        splits.append(
            [{row.path.name for row in rows(tmp_path / str(number), split)} for split in ("train", "val", "test")]
        )
    assert splits[0] == splits[1]
    assert splits[0] != splits[2]


def test_a_stopped_preparation_goes_on(folder, tmp_path, counted):
    expected, _, _ = run(folder, tmp_path / "whole", encoding=Encoding())
    whole, counted[:] = list(counted), []

    def stop(things, total, words):
        for number, thing in enumerate(things):
            if number == 4:
                raise KeyboardInterrupt
            yield thing

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(folder, out, encoding=Encoding(), watch=stop)
    assert not (out / "dataset.json").exists()
    with pytest.raises(InputError, match=r"holds no dataset\.json"):
        open_prepared(out, "train")
    # A line that was being written when the power went.
    with (out / "work.jsonl").open("a") as file:
        file.write('{"key": "v/lar')
    made, problems, _ = run(folder, out, encoding=Encoding())
    assert made == expected
    assert len(counted) <= len(whole) + 1, "the one in hand is done twice"
    assert sorted(set(counted)) == sorted(whole)
    assert [r.sha256 for r in rows(out, "train")] == [r.sha256 for r in rows(tmp_path / "whole", "train")]
    counted.clear()
    again, same, _ = run(folder, out, encoding=Encoding())
    assert again == made
    assert not counted, "nothing is left to do"
    assert list(same) == list(problems), "trouble is told again"


def test_what_changed_is_looked_at_again(folder, films, tmp_path, counted):
    out = tmp_path / "out"
    run(folder, out, encoding=Encoding())
    counted.clear()
    films.write(folder / "v" / "empty.mp4", films.smooth(9), "libvpx-vp9")
    (out / "videos" / "h" / "h264.mp4.mp4").unlink()
    (folder / "m" / "mjpeg.avi").unlink()
    made, problems, _ = run(folder, out, encoding=Encoding())
    assert sorted(counted) == ["h/h264.mp4", "v/empty.mp4"]
    assert sum(made.splits.values()) == 7
    assert len(problems) == 3
    counted.clear()
    run(folder, out, About(name="mine", frames=5, size=32), encoding=Encoding())
    assert counted == ["v/short.mp4"], "long enough now"
    counted.clear()
    run(folder, out, encoding=Encoding(gop=2))
    assert len(counted) == 10, "everything"


GOING = """
import sys
from diffsda.data.video.encode import Encoding
from diffsda.data.video.prepare import About, prepare_video
if __name__ == "__main__":
    prepare_video(*sys.argv[1:], About(name="mine", frames=8, size=32), encoding=Encoding(), jobs=1)
"""


def test_a_killed_preparation_goes_on(folder, films, tmp_path):
    for number in range(30):
        shutil.copy(films["vp9.mp4"], folder / "v" / f"more{number}.mp4")
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", GOING, str(folder), str(out)])
    end = time.monotonic() + 120
    record = out / "work.jsonl"
    while time.monotonic() < end and not (record.exists() and record.read_text().count("\n") >= 3):
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = record.read_text().count("\n")
    assert not (out / "dataset.json").exists()
    assert done >= 3
    made, problems, _ = run(folder, out, encoding=Encoding())
    assert sum(made.splits.values()) == 37
    assert len(problems) == 4


def test_processes_do_the_same_work(folder, tmp_path):
    expected, _, _ = run(folder, tmp_path / "here", encoding=Encoding())
    problems = Problems()
    made = prepare_video(folder, tmp_path / "there", ABOUT, encoding=Encoding(), jobs=2, problems=problems)
    assert made == expected
    assert [r.sha256 for r in rows(tmp_path / "there", "train")] == [r.sha256 for r in rows(tmp_path / "here", "train")]
    assert [p.path for p in problems] == sorted(p.path for p in problems)


def test_folders_of_something_else_are_left_alone(folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something else already"):
        run(folder, tmp_path / "mine")
    other = Dataset(kind="arrays", name="japan", modality="series", frames=None, channels=3, splits={"train": 3})
    (tmp_path / "arrays").mkdir()
    other.write(tmp_path / "arrays")
    with pytest.raises(InputError, match="holds japan, prepared as arrays"):
        run(folder, tmp_path / "arrays")
    assert Dataset.read(tmp_path / "arrays") == other


def test_nothing_left_to_train_on_is_an_error(films, tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"no video is left to train on \(1 problems\)"):
        run(tmp_path / "films", tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert "empty.mp4" in (tmp_path / "out" / "problems.jsonl").read_text()


def test_a_missing_split_file_is_named(folder, tmp_path):
    run(folder, tmp_path / "out")
    (tmp_path / "out" / "val.jsonl").unlink()
    with pytest.raises(InputError, match=r"val\.jsonl: no such file"):
        open_prepared(tmp_path / "out", "val")
