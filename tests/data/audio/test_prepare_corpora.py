"""diffsda prepare timit and librispeech: what presets take, exit codes, going on after a stop."""

import json

import pytest
from corpora import librispeech, timit

from diffsda.cli import main
from diffsda.data.audio import librispeech as libri
from diffsda.data.audio import timit as timit_set
from diffsda.data.prepared import Dataset, open_prepared
from diffsda.presets import preset

SPEAKERS = [("TRAIN", 1, "FCJF0"), ("TEST", 1, "FAKS0"), ("TEST", 1, "MDAB0")]
PARTS = {"train-clean-360": (14, 16), "dev-clean": (84,), "test-clean": (61,)}


@pytest.fixture
def corpora(tmp_path, monkeypatch):
    monkeypatch.setattr(timit_set, "EXPECTED", {"train": 2, "dev": 2, "test": 2})
    monkeypatch.setattr(libri, "EXPECTED", {"train-clean-360": (4, 2), "dev-clean": (2, 1), "test-clean": (2, 1)})
    timit(tmp_path / "timit" / "TIMIT", SPEAKERS)
    librispeech(tmp_path / "librispeech" / "LibriSpeech", PARTS)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "splits"), [("timit", {"train": 12, "test": 6}), ("librispeech", {"train": 14, "val": 7, "test": 7})]
)
def test_a_corpus_becomes_a_folder_its_preset_takes(corpora, capsys, name, splits):
    out = corpora / "out"
    assert main(["prepare", name, "--root", str(corpora / name), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(out), "name": name, "splits": splits, "problems": 0}
    held, want = Dataset.read(out), preset(name).clips
    assert (held.modality, held.frames, held.channels) == (want.modality, want.frames, want.channels)
    assert len(held.statistics[0]) == 80
    for split, count in splits.items():
        assert len(open_prepared(out, split, want)) == count


def test_options_of_each(corpora, capsys):
    assert main(["prepare", "timit", "--root", str(corpora), "--out", str(corpora / "t"), "--dev", "hold-out"]) == 0
    assert Dataset.read(corpora / "t").splits == {"train": 6, "val": 6, "test": 6}
    where = ["--root", str(corpora), "--out", str(corpora / "l")]
    assert main(["prepare", "librispeech", *where, "--train", "dev-clean", "--threads", "1"]) == 0
    assert Dataset.read(corpora / "l").options["train"] == "dev-clean"
    assert main(["prepare", "timit", "--root", str(corpora), "--out", str(corpora / "u"), "--as-published"]) == 2
    assert "as-published" in capsys.readouterr().err


def test_what_cannot_be_read_makes_the_exit_code_1(corpora, capsys):
    path = corpora / "timit" / "TIMIT" / "TRAIN" / "DR1" / "FCJF0" / "SX37.WAV"
    path.write_bytes(b"")
    assert main(["prepare", "timit", "--root", str(corpora), "--out", str(corpora / "out")]) == 1
    assert f"{path}: is empty" in capsys.readouterr().err
    assert Dataset.read(corpora / "out").splits["train"] == 9


def test_without_soundfile_the_exit_code_is_3(corpora, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert main(["prepare", "librispeech", "--root", str(corpora), "--out", str(corpora / "out")]) == 3
    assert "pip install 'diffsda[audio]'" in capsys.readouterr().err
    assert main(["prepare", "timit", "--root", str(corpora), "--out", str(corpora / "t")]) == 0, "SPHERE needs nothing"
