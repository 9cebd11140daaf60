"""diffsda prepare physionet, airq, etth1: exit codes, results on stdout, talk on stderr, nothing half done."""

import json
from datetime import datetime

import numpy as np
import pytest
from downloads import air_station, challenge, transformer

from diffsda.cli import main
from diffsda.data.prepared import Dataset, open_prepared
from diffsda.data.series import airq, physionet
from diffsda.presets import preset

MONTHS = [(datetime(year, 5, 1), 24 * 31) for year in (2013, 2014, 2016)]


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(physionet, "RECORDS", 12)
    monkeypatch.setattr(airq, "STATIONS", 2)
    challenge(tmp_path / "physionet", range(132540, 132552))
    for number, name in enumerate(("Aotizhongxin", "Dingling")):
        air_station(tmp_path / "airq" / "PRSA_Data_20130301-20170228", number, name, MONTHS)
    transformer(tmp_path / "etth1" / "ETT-small")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("physionet", {"train": 8, "val": 2, "test": 2}),
        ("airq", {"train": 3, "val": 1, "test": 2}),
        ("etth1", {"train": 14, "val": 3, "test": 6}),
    ],
)
def test_a_download_becomes_a_folder_its_preset_takes(downloads, capsys, name, splits):
    out = downloads / "out"
    assert main(["prepare", name, "--root", str(downloads / name), "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"folder": str(out), "name": name, "splits": splits, "problems": 0}
    assert printed.err
    held, want = Dataset.read(out), preset(name).clips
    assert (held.modality, held.frames, held.channels) == (want.modality, want.frames, want.channels)
    assert held.options["as_published"] is False
    assert held.statistics == ((0.0,) * want.channels, (1.0,) * want.channels)
    for split, count in splits.items():
        clips = open_prepared(out, split)
        assert clips.x.shape == (count, want.frames, want.channels)
        assert clips.mask.shape == clips.x.shape


def test_as_published_is_recorded(downloads, capsys):
    where = ["--root", str(downloads / "etth1"), "--out", str(downloads / "out")]
    assert main(["prepare", "etth1", *where, "--as-published", "--seed", "7"]) == 0
    assert capsys.readouterr().out.strip() == str(downloads / "out")
    assert Dataset.read(downloads / "out").options | {"raw_mean": 0, "raw_std": 0} == {
        "as_published": True,
        "seed": 7,
        "features": ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL"],
        "raw_mean": 0,
        "raw_std": 0,
    }


def test_trouble_is_told_kept_and_makes_the_exit_code_1(downloads, capsys):
    (downloads / "physionet" / "set-a" / "132541.txt").write_text("not a record\n")
    out = downloads / "out"
    assert main(["prepare", "physionet", "--root", str(downloads), "--out", str(out)]) == 1
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out)
    assert "132541.txt:1: got 'not a record', expected Time,Parameter,Value" in printed.err
    assert "2 problems" in printed.err
    kept = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
    assert kept[0]["line"] == 1
    assert sum(Dataset.read(out).splits.values()) == 11


def test_a_finished_folder_is_replaced_only_on_request(downloads, capsys):
    command = ["prepare", "airq", "--root", str(downloads / "airq"), "--out", str(downloads / "out")]
    assert main(command) == 0
    before = (downloads / "out" / "train.npz").read_bytes()
    assert main(command) == 2
    assert "pass --overwrite to replace it" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--seed", "9"]) == 0
    assert Dataset.read(downloads / "out").options["seed"] == 9
    assert main([*command, "--overwrite"]) == 0
    assert (downloads / "out" / "train.npz").read_bytes() == before, "the same command gives the same bytes"


def test_a_wrong_root_is_one_line_and_leaves_nothing(downloads, capsys):
    (downloads / "empty").mkdir()
    for name, words in (("physionet", "set-a"), ("airq", "UCI data set 501"), ("etth1", "ETTh1.csv")):
        for root in (downloads / "empty", downloads / "none"):
            assert main(["prepare", name, "--root", str(root), "--out", str(downloads / "out")]) == 2
            said = capsys.readouterr().err.strip()
            assert "--root" in said
            assert "\n" not in said
        assert words in said or "no folder" in said
    assert not (downloads / "out").exists()


def test_a_finished_set_outlives_a_command_that_fails(downloads, capsys):
    command = ["prepare", "airq", "--out", str(downloads / "out")]
    assert main([*command, "--root", str(downloads / "airq")]) == 0
    assert main([*command, "--overwrite", "--root", str(downloads / "etth1" / "ETT-small")]) == 2
    assert "expected Beijing" in capsys.readouterr().err
    assert np.isfinite(open_prepared(downloads / "out", "train").x).all()
