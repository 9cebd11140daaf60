"""What was judged is kept: nothing is judged twice, and files that are not whole count as not there."""

import os

import numpy as np
import pytest
from judge_toys import Colours, Loudness, Pitches, Points, Sums, frames

from diffsda.errors import InputError
from diffsda.evaluate.judges import cache, remembered
from diffsda.evaluate.judges.cache import Store, digest
from diffsda.evaluate.judges.remembered import (
    RememberedClipFeatures,
    RememberedEmbedder,
    RememberedLandmarks,
    RememberedSpeechQuality,
    RememberedVoices,
)


def row(*values):
    return np.array([values], float)


def test_a_row_is_found_again_by_another_process(tmp_path):
    Store.of(tmp_path, "a judge", "1").add([b"k" * 32], row(1.0, np.nan))
    again = Store.of(tmp_path, "a judge", "1")
    assert np.array_equal(again.get(b"k" * 32), [1.0, np.nan], equal_nan=True)
    assert again.get(b"l" * 32) is None
    assert len(again) == 1


def test_another_version_or_name_has_a_store_of_its_own(tmp_path):
    Store.of(tmp_path, "a judge", "1").add([b"k" * 32], row(1.0))
    assert len(Store.of(tmp_path, "a judge", "2")) == 0
    assert len(Store.of(tmp_path, "a-judge", "1")) == 0


def test_without_a_folder_memory_is_all_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store.of(None, "a judge", "1")
    store.add([b"k" * 32], row(1.0))
    assert store.get(b"k" * 32) == 1.0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [0, 10, 100, -1])
def test_a_file_that_is_cut_off_is_passed_over_and_judged_again(tmp_path, keep):
    judge = Points()
    seen = frames(5)
    first = RememberedLandmarks(judge, Store.of(tmp_path, "p", "1")).locate(seen)
    (shard,) = tmp_path.rglob("*.npz")
    data = shard.read_bytes()
    shard.write_bytes(data[:keep])
    again = RememberedLandmarks(judge, Store.of(tmp_path, "p", "1"))
    assert np.array_equal(again.locate(seen), first)
    assert judge.seen == 10


def test_garbage_in_the_folder_is_passed_over(tmp_path):
    store = Store.of(tmp_path, "p", "1")
    (store.folder / "noise.npz").write_bytes(np.random.default_rng(0).bytes(500))
    np.savez(store.folder / "other.npz", keys=np.zeros((2, 32), np.uint8))
    np.savez(store.folder / "short.npz", keys=np.zeros((1, 32), np.uint8), rows=np.zeros((2, 3)))
    np.savez(store.folder / "objects.npz", keys=np.zeros((1, 32), np.uint8), rows=np.array([{}], dtype=object))
    np.savez(store.folder / "zero.npz", keys=np.zeros((0, 32), np.uint8), rows=np.float64(1))
    (store.folder / "folder.npz").mkdir()
    np.save(store.folder / "array.npy", np.zeros(3))
    (store.folder / "array.npy").rename(store.folder / "array.npz")
    store.add([b"k" * 32], row(2.0))
    again = Store.of(tmp_path, "p", "1")
    assert len(again) == 1
    assert again.get(b"k" * 32) == 2.0


def test_a_changed_bit_is_noticed(tmp_path):
    store = Store.of(tmp_path, "p", "1")
    store.add([b"k" * 32], row(2.0))
    (shard,) = tmp_path.rglob("*.npz")
    data = bytearray(shard.read_bytes())
    at = bytes(data).index(np.float64(2.0).tobytes())
    data[at] ^= 1
    shard.write_bytes(data)
    assert len(Store.of(tmp_path, "p", "1")) == 0


def test_two_processes_add_to_one_folder(tmp_path):
    one, other = Store.of(tmp_path, "p", "1"), Store.of(tmp_path, "p", "1")
    one.add([b"a" * 32], row(1.0))
    other.add([b"b" * 32], row(2.0))
    assert len(Store.of(tmp_path, "p", "1")) == 2


def test_many_small_files_become_one(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SHARDS", 3)
    store = Store.of(tmp_path, "p", "1")
    for i in range(5):
        store.add([bytes([i]) * 32], row(float(i)))
    assert len(list(tmp_path.rglob("*.npz"))) == 5
    again = Store.of(tmp_path, "p", "1")
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    third = Store.of(tmp_path, "p", "1")
    assert [float(third.get(bytes([i]) * 32)[0]) for i in range(5)] == [0, 1, 2, 3, 4]
    assert len(again) == 5


def test_a_folder_stays_within_its_bounds_and_the_oldest_go(tmp_path):
    store = Store.of(tmp_path, "p", "1", most=10_000)
    for i in range(6):
        store.add([bytes([i]) * 32], np.full((1, 400), float(i)))
        for age, shard in enumerate(sorted(tmp_path.rglob("*.npz"), key=lambda p: p.stat().st_mtime_ns, reverse=True)):
            os.utime(shard, (1e9 - age, 1e9 - age))
    left = Store.of(tmp_path, "p", "1", most=10_000)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.npz")) <= 10_000
    assert left.get(bytes([5]) * 32) is not None
    assert left.get(bytes([0]) * 32) is None


def test_a_digest_tells_shape_type_and_context_apart():
    a = np.zeros((2, 3), np.uint8)
    assert len({digest(a), digest(a.T), digest(a.astype(np.int8)), digest(a, 16000), digest(a, 8000)}) == 5
    assert digest(a) == digest(np.asfortranarray(a))


def test_equal_frames_are_judged_once_and_rows_keep_their_order(tmp_path):
    judge = Points()
    points = RememberedLandmarks(judge, Store.of(tmp_path, "p", "1"))
    seen = frames(3)[[0, 1, 0, 2, 1]]
    assert np.array_equal(points.locate(seen), Points().locate(seen))
    assert judge.seen == 3
    assert np.array_equal(points.locate(seen[::-1]), Points().locate(seen[::-1]))
    assert judge.seen == 3


def test_nothing_found_is_remembered_too(tmp_path):
    judge = Points()
    points = RememberedLandmarks(judge, Store.of(tmp_path, "p", "1"))
    black = np.zeros((2, 8, 10, 3), np.uint8)
    black[1, 3, 4] = 9
    for _ in range(2):
        found = points.locate(black)
        assert np.isnan(found[0]).all()
        assert found[1].tolist() == [[4.0, 3.0]]
    assert judge.seen == 2


def test_a_run_that_is_stopped_keeps_what_was_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "FRAMES", 2)

    class Tired(Points):
        def locate(self, frames):
            if self.seen >= 4:
                raise KeyboardInterrupt
            return super().locate(frames)

    seen = frames(8, seed=3)
    assert len(np.unique(seen.reshape(8, -1), axis=0)) == 8
    with pytest.raises(KeyboardInterrupt):
        RememberedLandmarks(Tired(), Store.of(tmp_path, "p", "1")).locate(seen)
    judge = Points()
    assert np.array_equal(RememberedLandmarks(judge, Store.of(tmp_path, "p", "1")).locate(seen), Points().locate(seen))
    assert judge.seen == 4


def test_embedders_and_clip_features_remember(tmp_path):
    people = Colours()
    embedder = RememberedEmbedder(people, Store.of(tmp_path, "c", "1"))
    assert (embedder.threshold, embedder.name, embedder.substitute) == (10.0, "colours", False)
    clips = Sums()
    features = RememberedClipFeatures(clips, Store.of(tmp_path, "s", "1"))
    seen, x = frames(4), np.arange(24.0).reshape(2, 3, 4)
    for _ in range(2):
        assert np.allclose(embedder.embed(seen), seen.mean((1, 2)))
        assert features.describe(x).tolist() == [[66.0], [210.0]]
    assert people.seen == 4
    assert clips.seen == 2


def test_waves_are_told_apart_by_their_rate(tmp_path):
    judge, rater = Pitches(), Loudness()
    voices = RememberedVoices(judge, Store.of(tmp_path, "v", "1"))
    quality = RememberedSpeechQuality(rater, Store.of(tmp_path, "q", "1"))
    waves = [np.array([0.5, -0.5, 0.5]), np.array([0.1, 0.1])]
    for _ in range(2):
        assert voices.embed(waves, 100).tolist() == [[100.0, 1.0], [0.0, 1.0]]
        assert voices.embed(waves, 200).tolist() == [[200.0, 1.0], [0.0, 1.0]]
        said = quality.rate(waves, 100)
        assert said["peak"].tolist() == pytest.approx([0.5, 0.1])
        assert said["mean"].tolist() == pytest.approx([0.5, 0.1])
    assert judge.seen == 4
    assert rater.seen == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, 8, 10, 3)), "float64"),
        (np.zeros((2, 3, 8, 10), np.uint8), r"\(2, 3, 8, 10\)"),
        (np.zeros((0, 8, 10, 3), np.uint8), "nothing"),
    ],
)
def test_frames_that_are_none_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        RememberedLandmarks(Points(), Store(None)).locate(given)


@pytest.mark.parametrize("wave", [np.zeros((2, 3)), np.zeros(0), np.array([np.nan])])
def test_waves_that_are_none_are_refused(wave):
    with pytest.raises(InputError, match="wave 1"):
        RememberedVoices(Pitches(), Store(None)).embed([np.ones(3), wave], 100)
    with pytest.raises(InputError, match="rate"):
        RememberedVoices(Pitches(), Store(None)).embed([np.ones(3)], 0)


def test_a_judge_that_loses_frames_is_caught():
    class Forgetful(Points):
        def locate(self, frames):
            return super().locate(frames)[1:]

    with pytest.raises(ValueError, match="rows"):
        RememberedLandmarks(Forgetful(), Store(None)).locate(frames(4))
