"""Finding a download, and leaving a folder that is whole or unfinished."""

import random

import numpy as np
import pytest

from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import begin, find, leave, note, part, read_lines, shuffled
from diffsda.errors import InputError

HELD = Dataset(kind="arrays", name="x", modality="series", frames=4, channels=2, splits={"train": 1})


def arrays(count):
    return {"x": np.zeros((count, 4, 2), np.float32)}


def test_the_shallowest_are_found_up_to_three_folders_deeper(tmp_path):
    for depth in (4, 3, 1):
        folder = tmp_path.joinpath(*"abcd"[:depth])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "b.csv").write_text("")
        (folder / "a.csv").write_text("")
        want = [] if depth == 4 else [folder / "a.csv", folder / "b.csv"]
        assert find(tmp_path, "*.csv") == want
    with pytest.raises(InputError, match="which is no folder"):
        find(tmp_path / "a" / "a.csv", "*")


def test_a_split_without_clips_is_left_out_and_an_old_one_removed(tmp_path):
    out = tmp_path / "deep" / "out"
    leave(out, HELD, {"train": arrays(3), "val": arrays(2), "test": arrays(1)}, Problems())
    held = leave(out, HELD, {"train": arrays(3), "val": arrays(0), "test": arrays(1)}, Problems())
    assert held.splits == {"train": 3, "test": 1}
    assert Dataset.read(out) == held
    assert sorted(path.name for path in out.iterdir()) == ["dataset.json", "test.npz", "train.npz"]
    with pytest.raises(InputError, match="x: no clip is left for training"):
        leave(tmp_path / "other", HELD, {"train": arrays(0), "test": arrays(1)}, Problems())
    assert not (tmp_path / "other").exists()


def test_a_folder_that_is_filled_anew_is_unfinished(tmp_path):
    leave(tmp_path / "out", HELD, {"train": arrays(3)}, Problems())
    assert begin(tmp_path / "out")
    assert not begin(tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made a folder"):
        begin(tmp_path / "file")


def test_clips_are_dealt_out_by_row():
    dealt = part({"x": np.arange(5), "y": np.arange(5) * 2}, {"train": [3, 1], "test": [0]})
    assert dealt["train"]["x"].tolist() == [3, 1]
    assert dealt["train"]["y"].tolist() == [6, 2]
    assert dealt["test"]["x"].tolist() == [0]


def test_the_shuffle_is_pythons():
    want = list(range(10, 30))
    random.seed(0)
    random.shuffle(want)
    assert shuffled(range(10, 30), 0) == want


def test_an_errors_file_and_line_are_said_once(tmp_path):
    problems = Problems()
    path = tmp_path / "t.csv"
    note(problems, path, InputError(f"{path}:7: got nothing"))
    note(problems, path, InputError(f"{path}: is empty: so what"), "; left out")
    assert [str(p) for p in problems] == [f"{path}:7: got nothing", f"{path}: is empty: so what; left out"]


def test_lines_of_a_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo \xff\n")
    assert read_lines(tmp_path / "a.txt") == ["one", "two \ufffd"]
    with pytest.raises(InputError, match="cannot be read"):
        read_lines(tmp_path)
