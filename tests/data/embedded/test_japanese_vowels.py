"""The shipped utterances are the donors', in value, order and split."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from diffsda.data.embedded import japanese_vowels
from diffsda.data.embedded.build_japanese_vowels import build, read_ts
from diffsda.errors import InputError

FOLDER = Path(japanese_vowels.__file__).parent


def test_counts_are_those_the_donors_state():
    train, test = japanese_vowels.load("train"), japanese_vowels.load("test")
    assert train.x.shape == (270, 29, 12)
    assert test.x.shape == (370, 29, 12)
    assert np.bincount(train.labels["speaker"]).tolist() == [30] * 9
    assert np.bincount(test.labels["speaker"]).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert (train.lengths.sum(), test.lengths.sum()) == (4274, 5687)
    assert (min(train.lengths.min(), test.lengths.min()), test.lengths.max()) == (7, 29)


def test_values_and_padding():
    train = japanese_vowels.load("train")
    first = [1.860936, -0.207383, 0.261557]
    assert train.lengths[0] == 20
    assert train.x[0, 0, :3] == pytest.approx(first, abs=1e-7)
    assert train.x[0, 1, 0] == pytest.approx(1.891651, abs=1e-7)
    assert train.x[0, 19, 0] == pytest.approx(1.261441, abs=1e-7)
    past = np.arange(29)[None] >= train.lengths[:, None]
    assert np.all(train.x[past] == 0)
    assert np.all(np.abs(train.x[~past]).sum(-1) > 0), "a kept frame is empty: the order is wrong"
    steps = train.x * 1e6
    assert np.abs(steps - np.round(steps)).max() < 0.2, "values have six decimals"


def test_a_nearest_mean_tells_the_speakers_apart():
    def means(clips):
        return clips.x.sum(1) / clips.lengths[:, None]

    train, test = japanese_vowels.load("train"), japanese_vowels.load("test")
    centres = np.stack([means(train)[train.labels["speaker"] == s].mean(0) for s in range(9)])
    found = np.argmin(((means(test)[:, None] - centres) ** 2).sum(-1), 1)
    right = (found == test.labels["speaker"]).mean()
    wrong = (found == np.roll(test.labels["speaker"], 100)).mean()
    assert right > 0.8
    assert wrong < 0.3


def test_the_checksum_stated_is_the_files():
    stated = re.search(r"`([0-9a-f]{64})`", (FOLDER / "JAPANESE_VOWELS.md").read_text())[1]
    assert hashlib.sha256((FOLDER / "japanese_vowels.npz").read_bytes()).hexdigest() == stated


def test_a_wrong_split_is_refused():
    with pytest.raises(InputError, match="got 'validation', expected train or test"):
        japanese_vowels.load("validation")


def ts(path, *lines):
    path.write_text("# a comment: with a colon\n@classLabel true 1 2\n@data\n" + "\n".join(lines) + "\n")
    return path


def test_the_builder_reads_and_refuses(tmp_path):
    good = ":".join(f"{c},{c}.5,{c}.25" for c in range(12))
    one, two = ts(tmp_path / "one.ts", f"{good}:3"), ts(tmp_path / "two.ts", f"{good}:1", f"{good}:9")
    utterances, speakers = read_ts(one)
    assert speakers == [2]
    assert utterances[0][:, 7].tolist() == [7, 7.5, 7.25]
    for name in ("a.npz", "b.npz"):
        build(one, two, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    made = np.load(tmp_path / "a.npz")
    assert made["x"].shape == (9, 12)
    assert made["lengths"].tolist() == [3, 3, 3]
    assert (made["speaker"].tolist(), made["split"].tolist()) == ([2, 0, 8], [0, 1, 1])
    for bad in ("1,2:3,4:1", ":".join(["1,2"] * 11 + ["1"]) + ":1"):
        with pytest.raises(InputError, match="utterance 1 is not 12 series of one length"):
            read_ts(ts(tmp_path / "bad.ts", bad))
    with pytest.raises(InputError, match="no utterances"):
        read_ts(ts(tmp_path / "bad.ts"))
