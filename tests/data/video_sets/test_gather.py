"""A download becomes a prepared folder that loads: shapes, labels, what went wrong, stopping and going on."""

import json
import sys

import numpy as np
import pytest
from trees import celebv_hq, frames, indexed, jpeg, mug, number_of, voxceleb

from diffsda.data import prepared
from diffsda.data.problems import Problems
from diffsda.data.stream import Take, unwatched
from diffsda.data.video import celebv_hq as celebv_hq_reader
from diffsda.data.video import gather as gathering
from diffsda.data.video import mug as mug_reader
from diffsda.data.video import voxceleb as voxceleb_reader
from diffsda.data.video.footage import VideoSet
from diffsda.data.video.frames_folder import Ways
from diffsda.data.video.gather import gather
from diffsda.data.video.view import View
from diffsda.errors import InputError, MissingPackage, SaveError
from diffsda.presets import preset


def prepare(reader, root, out, problems=None, watch=unwatched, jobs=0, overwrite=False, said=None, **ways):
    problems = Problems() if problems is None else problems
    download = reader.read(root, problems)
    how = Ways(**{"fewest": download.about.frames, "rate": download.about.rate, **ways})
    tell = (lambda words: None) if said is None else said.append
    return gather(download, out, how, jobs=jobs, overwrite=overwrite, problems=problems, tell=tell, watch=watch)


def clips_of(folder, split, view=None, form=None):
    """Read the fixed view of all items."""
    if form is not None:
        data = prepared.open_prepared(folder, split, form, loader="pyav")
    else:
        data = VideoSet(folder, split, view, loader="pyav")
    (batch,) = data.batches([[Take(item) for item in range(len(data))]])
    return data, np.asarray(batch)


def test_mug_as_the_preset_takes_it(tmp_path):
    said = []
    summary = prepare(mug_reader, mug(tmp_path, train=2, test=1), tmp_path / "out", said=said)
    assert summary["clips"] == {"train": 12, "test": 6}
    assert summary["files"] == {"kept": 18, "encoded": 0, "in place": 0}
    assert said == [
        "found 18 of 3429 clips, 3 of 52 values of subject of the whole set; the rest is at "
        f"https://mug.ee.auth.gr/fed/ ({mug_reader.ABOUT.licence})"
    ]
    data, x = clips_of(tmp_path / "out", "train", form=preset("mug").clips)
    assert x.shape == (12, 15, 3, 64, 64)
    assert x.dtype == np.float32
    assert np.abs(x).max() <= 1
    assert [number_of(frame) for frame in x[0]] == list(range(15))
    assert data.labels()["emotion"].tolist() == [0] * 6 + [5] * 6
    assert data.labels()["subject"].tolist() == [0, 0, 1, 1, 2, 2] * 2
    held = prepared.Dataset.read(tmp_path / "out")
    assert (held.name, held.frames, held.size, held.splits) == ("mug", 15, 64, {"train": 12, "test": 6})
    assert held.label_names["emotion"][5] == "surprise"
    assert held.options == {
        **{"as_published": False, "layout": "authors", "frames": 15, "size": None, "codec": "mjpeg"}
    }


def test_voxceleb_at_256_pixels(tmp_path):
    prepare(voxceleb_reader, voxceleb(tmp_path), tmp_path / "out")
    data, x = clips_of(tmp_path / "out", "test", View(frames=10, size=256))
    assert x.shape == (2, 10, 3, 256, 256)
    assert data.labels()["identity"].tolist() == [1, 1]
    assert [number_of(frame) for frame in x[0]] == list(range(1, 11))


def test_celebv_hq_videos_stay_where_they_are(tmp_path):
    root = celebv_hq(tmp_path, clips=5)
    (root / "CelebV-HQ/35666/-vid0_A_0.mp4").unlink()
    said = []
    summary = prepare(celebv_hq_reader, root, tmp_path / "out", said=said)
    assert summary["files"] == {"kept": 0, "encoded": 0, "in place": 4}
    assert summary["missing"] == 1
    assert (tmp_path / "out/missing.txt").read_text(encoding="utf-8") == "-vid0_A_0.mp4\n"
    assert any("1 files that the set's own list names are not there" in words for words in said)
    assert not (tmp_path / "out/clips").exists()
    data, x = clips_of(tmp_path / "out", "train", View(frames=10, size=256))
    assert x.shape[1:] == (10, 3, 256, 256)
    assert len(data.labels()) == 3 + 2 + 1 + 8
    assert summary["problems"] == 0


def test_trouble_is_told_by_file_and_the_rest_goes_on(tmp_path):
    root = mug(tmp_path, train=2, test=1)
    train = root / "mug_pre2_train/0"
    (train / "user001_take000_00/3.jpg").write_bytes(b"broken")
    frames(train / "user001_take001_00", [4], "{}.jpg", (24, 20))
    for path in (train / "user006_take000_00").iterdir():
        path.unlink()
    for number in (0, 1):
        (train / f"user010_take000_00/{number}.jpg").unlink()
    told = []
    problems = Problems(told.append)
    summary = prepare(mug_reader, root, tmp_path / "out", problems)
    kept = [json.loads(line) for line in (tmp_path / "out/problems.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(p["path"].removeprefix(f"{train}/"), p["reason"].split(",")[0].split(";")[0]) for p in kept} == {
        ("user001_take000_00/3.jpg", "is no image that can be read"),
        ("user001_take001_00", "holds images of 2 sizes (1 of 24x20)"),
        ("user006_take000_00", "got 0 images that can be decoded"),
        ("user010_take000_00", "got 14 images that can be decoded"),
    }
    assert len(told) == 4
    assert summary["clips"] == {"train": 10, "test": 6}
    assert (summary["left_out"], summary["files"]["encoded"], summary["problems"]) == (2, 1, 4)
    lines = {line["path"]: line for line in indexed(tmp_path / "out", "train")}
    assert lines["clips/train/0/user001_take000_00.mp4"]["frames"] == 15
    assert lines["clips/train/0/user001_take001_00.mp4"]["frames"] == 16
    assert "clips/train/0/user006_take000_00.mp4" not in lines
    # Once it is put right, the same command makes only what changed.
    (train / "user001_take000_00/3.jpg").write_bytes(jpeg(3))
    summary = prepare(mug_reader, root, tmp_path / "out")
    assert (summary["made_now"], summary["problems"]) == (1, 3)
    lines = {line["path"]: line for line in indexed(tmp_path / "out", "train")}
    assert lines["clips/train/0/user001_take000_00.mp4"]["frames"] == 16


def test_nothing_left_to_train_on(tmp_path):
    root = mug(tmp_path, train=1, test=1, people=("001",), length=3)
    with pytest.raises(InputError, match="none of 4 clips can be used for training"):
        prepare(mug_reader, root, tmp_path / "out")
    assert not prepared.is_prepared(tmp_path / "out")
    assert len((tmp_path / "out/problems.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_a_stopped_run_goes_on(tmp_path):
    root = mug(tmp_path, train=2, test=1)

    def stop(things, total, words):
        for number, thing in enumerate(things):
            if number == 5:
                raise KeyboardInterrupt
            yield thing

    with pytest.raises(KeyboardInterrupt):
        prepare(mug_reader, root, tmp_path / "out", watch=stop)
    assert not prepared.is_prepared(tmp_path / "out")
    with (tmp_path / "out/journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write('{"key": "train/0/user001_ta')
    # One that the journal knows is lost meanwhile.
    (tmp_path / "out/clips/train/0/user001_take000_00.mp4").unlink()
    with pytest.raises(KeyboardInterrupt):
        prepare(mug_reader, root, tmp_path / "out", watch=stop)
    # The one that was lost; what came of the fifth was not written down when the first run was stopped.
    journal = (tmp_path / "out/journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["key"].rpartition("/")[2] for line in journal][-1] == "user001_take000_00"
    summary = prepare(mug_reader, root, tmp_path / "out")
    assert summary["made_now"] == 18 - 5
    whole = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("t*.jsonl")}
    assert prepare(mug_reader, root, tmp_path / "out")["made_now"] == 0
    assert prepare(mug_reader, root, tmp_path / "fresh")["made_now"] == 18
    assert {path.name: path.read_bytes() for path in (tmp_path / "fresh").glob("t*.jsonl")} == whole


def test_a_prepared_folder_can_be_moved(tmp_path):
    root = mug(tmp_path, train=1, test=1, people=("001",))
    prepare(mug_reader, root, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    assert prepare(mug_reader, root, tmp_path / "elsewhere")["made_now"] == 0
    assert clips_of(tmp_path / "elsewhere", "train", View(frames=15, size=32))[1].shape == (2, 15, 3, 32, 32)


def test_other_options_want_another_folder(tmp_path):
    root = mug(tmp_path, train=1, test=1, people=("001",))
    prepare(mug_reader, root, tmp_path / "out")
    with pytest.raises(
        InputError, match=r"prepared with other options \(size\); choose another folder, or pass --over"
    ):
        prepare(mug_reader, root, tmp_path / "out", size=32)
    assert prepared.is_prepared(tmp_path / "out")
    summary = prepare(mug_reader, root, tmp_path / "out", size=32, overwrite=True)
    assert summary["made_now"] == 4
    assert {line["height"] for line in indexed(tmp_path / "out", "train")} == {32}
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="is a file, expected a folder"):
        prepare(mug_reader, root, tmp_path / "file")
    with pytest.raises(InputError, match="cannot be made"):
        prepare(mug_reader, root, tmp_path / "file" / "below")


def test_without_pyav_nothing_is_begun(tmp_path, monkeypatch):
    root = mug(tmp_path, train=1, test=1, people=("001",))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackage, match=r"pip install 'diffsda\[video\]'"):
        prepare(mug_reader, root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_databases_own_takes(tmp_path):
    for take in range(5):
        frames(tmp_path / f"MUG/subjects3/001/fear/take{take:03}", range(16), "img_{:04}.jpg", (64, 64))
    summary = prepare(mug_reader, tmp_path, tmp_path / "out")
    assert summary["clips"] == {"train": 4, "test": 1}
    assert summary["whole"] == {"subject": 52}
    assert clips_of(tmp_path / "out", "test", form=preset("mug").clips)[1].shape == (1, 15, 3, 64, 64)


def test_pairs_are_rows_of_the_test_index(tmp_path):
    root = mug(tmp_path, train=1, test=2, people=("001", "006"))
    for path in (root / "mug_pre2_test/0/user001_take000_00").iterdir():
        path.write_bytes(b"broken")
    (root / "splits").mkdir()
    names = ["0/user001_take001_00,0,0", "5/user006_take000_00,5,1", "0/user001_take000_00,0,0"]
    rows = [f"mug_pre2_test/{names[a]},mug_pre2_test/{names[b]}\n" for a, b in ((0, 1), (1, 0), (2, 1))]
    header = "video_path_A,categ_A,subj_A,video_path_B,categ_B,subj_B\n"
    (root / "splits/mug_pairs.csv").write_text(header + "".join(rows), encoding="utf-8")
    assert prepare(mug_reader, root, tmp_path / "out")["pairs"] == 2
    test = [line["path"].removeprefix("clips/test/").removesuffix(".mp4") for line in indexed(tmp_path / "out", "test")]
    lines = (tmp_path / "out/test_pairs.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    first, second = (name.split(",")[0] for name in names[:2])
    assert [(test[p["first"]], test[p["second"]]) for p in pairs] == [(first, second), (second, first)]


def test_processes_make_the_same(tmp_path):
    root = mug(tmp_path, train=2, test=1, people=("001",))
    one = prepare(mug_reader, root, tmp_path / "one")
    two = prepare(mug_reader, root, tmp_path / "two", jobs=2)
    assert {**one, "out": ""} == {**two, "out": ""}
    for name in ("train.jsonl", "test.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_full_disk_ends_it(tmp_path, monkeypatch):
    root = mug(tmp_path, train=1, test=1, people=("001",))

    def full(*anything):
        raise SaveError("no space left on device")

    monkeypatch.setattr(gathering, "film", full)
    with pytest.raises(SaveError, match="no space left"):
        prepare(mug_reader, root, tmp_path / "out")
    assert not prepared.is_prepared(tmp_path / "out")
