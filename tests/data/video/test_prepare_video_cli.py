"""diffsda prepare video: the folder on stdout, trouble on stderr, an exit status that says how it went."""

import json
import shutil

import pytest

from diffsda.cli import main


@pytest.fixture
def folder(films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walks").mkdir()
    for name in ("vp9.mp4", "h264.mp4", "mjpeg.avi", "uneven.mp4"):
        shutil.copy(films[name], tmp_path / "walks" / name)
    return tmp_path / "walks"


def test_a_good_folder(folder, tmp_path, capsys):
    assert main(["prepare", "video", "walks", "--jobs", "1"]) == 0
    said = capsys.readouterr()
    assert said.out == "datasets/walks\n"
    assert "prepare video: timing: 1 of 4 videos show frames for unequal times" in said.err
    assert json.loads((tmp_path / "datasets" / "walks" / "dataset.json").read_text())["frames"] == 10
    assert (
        main(["prepare", "video", "walks", "--out", "datasets/walks", "--json", "--frames", "24", "--size", "48"]) == 0
    )
    made = json.loads(capsys.readouterr().out)
    assert made["out"] == "datasets/walks"
    assert made["splits"] == {"train": 2, "val": 1, "test": 1}
    assert (made["frames"], made["size"], made["problems"]) == (24, 48, 0)
    assert "timing" in made["notes"]


def test_a_folder_with_trouble(folder, capsys):
    (folder / "torn.mp4").write_bytes(b"torn")
    options = ["--out", "there", "--recode", "--codec", "mjpeg", "--size", "32", "--test-share", "0", "--jobs", "1"]
    assert main(["prepare", "video", "walks", *options]) == 1
    said = capsys.readouterr()
    assert said.out == "there\n"
    assert "prepare video: walks/torn.mp4: cannot be decoded as video" in said.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["walks", "--gop", "0", "--recode"], "gop: got 0"),
        (["walks", "--frames", "1"], "--frames: got 1"),
        (["walks", "--jobs", "0"], "--jobs: got 0"),
        (["walks", "--size", "2"], "--size: got 2"),
        (["walks", "--codec", "h264"], "h264"),
        (["walks", "--val-share", "2", "--jobs", "1"], "val_share: got 2.0"),
        ([], "FOLDER"),
    ],
)
def test_bad_usage(folder, capsys, options, words):
    assert main(["prepare", "video", *options]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len([line for line in said.err.splitlines() if "error:" in line]) == 1
    assert not said.out
