"""What `prepare` leaves is described, opened and refused by its dataset.json."""

import dataclasses
import json

import numpy as np
import pytest

from diffsda.data.arrays import write
from diffsda.data.prepared import Dataset, in_memory, is_prepared, open_prepared
from diffsda.data.registry import open_clips, open_data
from diffsda.data.stream import unwatched
from diffsda.errors import InputError

SOUNDS = Dataset(
    kind="arrays",
    name="sounds",
    modality="audio",
    frames=6,
    channels=3,
    splits={"train": 4, "test": 2},
    label_names={"speaker": ("ann", "ben")},
    statistics=((0.0, 1.0, 2.0), (1.0, 1.0, 0.5)),
    options={"as_published": False},
    source="made",
    licence="none",
)


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(0)
    for split, n in SOUNDS.splits.items():
        x = draw.normal(size=(n, 6, 3)).astype(np.float32)
        write(tmp_path / f"{split}.npz", {"x": x, "speaker": np.arange(n) % 2, "age": draw.normal(size=n)})
    assert not is_prepared(tmp_path)
    SOUNDS.write(tmp_path)
    assert is_prepared(tmp_path)
    return tmp_path


def test_what_is_written_is_read(folder):
    assert Dataset.read(folder) == SOUNDS


def test_arrays_open_with_their_labels_and_names(folder):
    clips = open_clips(folder, "test")
    assert (clips.x.shape, clips.name, clips.source) == ((2, 6, 3), "sounds", "made, test")
    assert list(clips.labels) == ["speaker"]
    assert clips.label_names == {"speaker": ("ann", "ben")}
    assert np.array_equal(open_data(str(folder)).x, open_prepared(folder, "train").x)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "got format 2, expected 1"),
        ({"kind": "tables"}, "kind: got 'tables', expected one of arrays, video, frames"),
        ({"splits": {}}, "splits: got none"),
        ({"splits": {"rest": 3}}, "splits: got rest, expected some of train, val, test"),
        ({"splits": {"train": "many"}}, "is not usable"),
        ({"statistics": {"mean": [0]}}, "is not usable"),
        ({"label_names": 3}, "is not usable"),
        ({"colour": "red"}, "got colour, expected only"),
    ],
)
def test_a_description_that_is_not_usable_is_refused(folder, change, words):
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=words) as refused:
        open_data(folder)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "\x00"])
def test_what_is_no_description_is_refused(folder, text):
    (folder / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json"):
        Dataset.read(folder)


def test_an_unfinished_folder_is_told(tmp_path):
    with pytest.raises(InputError, match=r"holds no dataset\.json.*diffsda prepare"):
        open_data(tmp_path)


def test_a_missing_split_is_told(folder):
    with pytest.raises(InputError, match=r"split: got 'val' of .*expected one of train, test"):
        open_data(folder, "val")
    (folder / "test.npz").unlink()
    with pytest.raises(InputError, match=r"test\.npz: no such file"):
        open_data(folder, "test")


class Ramp:
    """A stream whose clip i holds i."""

    name, source, shape, statistics, options = "ramp", "made", (4, 2), None, {}

    def __len__(self):
        return 37

    def labels(self):
        return {"side": np.arange(37) % 2}

    def fingerprint(self):
        return f"{self.name} {len(self)}"

    def describe(self):
        return "made"

    def batches(self, takes):
        for few in takes:
            assert all(take.seed is None for take in few)
            yield np.stack([np.full(self.shape, take.item, np.float32) for take in few])


def test_a_stream_is_read_whole_in_order():
    clips = in_memory(Ramp())
    assert np.array_equal(clips.x[:, 0, 0], np.arange(37))
    assert np.array_equal(clips.labels["side"], np.arange(37) % 2)


def test_a_stream_that_does_not_fit_in_memory_is_refused():
    with pytest.raises(InputError, match=r"ramp: 37 clips.*diffsda infer"):
        in_memory(Ramp(), most=4 * 37 * 8 - 1)
    assert len(in_memory(Ramp(), most=4 * 37 * 8)) == 37


def test_statistics_survive_as_numbers(tmp_path):
    exact = dataclasses.replace(SOUNDS, statistics=((0.1, 1e-9, 1 / 3), (1e9, 2**-20, 0.7)))
    exact.write(tmp_path)
    assert Dataset.read(tmp_path).statistics == exact.statistics


def test_nothing_is_lost_unwatched():
    assert list(unwatched(iter("abc"), 3, "letters")) == ["a", "b", "c"]
