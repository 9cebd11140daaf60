"""Names open the right clips, files are read, typos are answered with the nearest name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffsda.data.arrays import write
from diffsda.data.registry import names, open_clips
from diffsda.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_every_name_opens():
    for name in names():
        assert open_clips(name).name == name


@pytest.mark.parametrize("name", ["moving_shapes", "tones", "series"])
def test_made_splits_share_no_clip(name):
    train, test = open_clips(name, "train"), open_clips(name, "test")
    assert (len(train), len(test)) == (512, 128)
    both = np.concatenate([train.x, test.x]).reshape(640, -1)
    assert len(np.unique(both, axis=0)) == 640


def test_embedded_splits_are_the_donors():
    assert len(open_clips("japanese_vowels", "train")) == 270
    assert len(open_clips("japanese_vowels", "test")) == 370


def test_a_path_is_read_whichever_the_split(tmp_path):
    x = np.ones((3, 4, 2), np.float32)
    write(tmp_path / "mine.npz", {"x": x})
    for split in ("train", "test"):
        assert np.array_equal(open_clips(tmp_path / "mine.npz", split).x, x)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("japanese_vowel", "did you mean 'japanese_vowels'"),
        ("JapaneseVowels", "did you mean 'japanese_vowels'"),
        ("tone", "did you mean 'tones'"),
        ("zzz", "moving_shapes, tones, series, a prepared folder, or a file ending in .npz"),
        ("gone.npz", "gone.npz: no such file"),
        ("folder/gone", "folder/gone: no such file or folder, expected a prepared folder"),
    ],
)
def test_an_unknown_name_is_answered(name, words):
    with pytest.raises(InputError, match=words):
        open_clips(name)


def test_an_unknown_split_is_answered():
    with pytest.raises(InputError, match="got 'tets', expected train, val or test; did you mean 'test'"):
        open_clips("tones", "tets")


def test_data_needs_no_torch():
    code = "import sys, diffsda.data.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
