"""Array files of one's own are put together, checked and split."""

import numpy as np
import pytest

from diffsda.data.own.prepare import prepare_own
from diffsda.data.own.settings import Settings
from diffsda.data.problems import Problems
from diffsda.data.registry import open_clips
from diffsda.errors import InputError


def prepare(source, out, **options):
    problems, told = Problems(), []
    made = prepare_own(Settings(source=source, name="mine", **options), out, problems=problems, tell=told.append)
    return made, [str(p).replace(str(source), "") for p in problems], "\n".join(told)


def vectors(count, frames=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, frames, 3)).astype(np.float32)


def test_files_are_put_together_and_padded(tmp_path):
    (tmp_path / "in").mkdir()
    long, short = vectors(10), vectors(5, 4, 1)
    mask = np.zeros(short.shape, np.uint8)
    mask[0, 1, 2] = 1
    np.savez(tmp_path / "in" / "a.npz", x=long, who=np.arange(10), only=np.arange(10))
    np.savez(tmp_path / "in" / "b.npz", x=short, mask=mask, who=np.arange(10, 15))
    made, said, _ = prepare(tmp_path / "in", tmp_path / "out", val_share=0.2, test_share=0.2)
    assert (said, made.dataset.splits, made.dataset.frames) == ([], {"train": 9, "val": 3, "test": 3}, None)
    held = {}
    for split in made.dataset.splits:
        clips = open_clips(tmp_path / "out", split)
        assert set(clips.labels) == {"who"}, "a label that only some files have is none"
        held |= {int(who): (x, n) for who, x, n in zip(clips.labels["who"], clips.x, clips.lengths)}
    assert [held[i][1] for i in range(15)] == [6] * 10 + [4] * 5
    assert all(np.array_equal(held[i][0], long[i]) for i in range(10))
    assert held[10][0][1, 2] == 0
    assert np.array_equal(held[12][0][:4], short[2])


def test_a_label_keeps_its_clips_on_one_side(tmp_path):
    np.savez(tmp_path / "a.npz", x=vectors(40), who=np.arange(40) % 8)
    made, _, _ = prepare(tmp_path / "a.npz", tmp_path / "out", id="who")
    sides = [set(open_clips(tmp_path / "out", split).labels["who"]) for split in made.dataset.splits]
    assert [len(side) for side in sides] == [6, 1, 1]
    assert len(set.union(*sides)) == 8
    np.savez(tmp_path / "b.npz", x=vectors(4))
    with pytest.raises(InputError, match="--id: got 'who', expected a label"):
        prepare(tmp_path / "b.npz", tmp_path / "other", id="who")


def test_files_called_train_and_test_keep_their_split(tmp_path):
    (tmp_path / "in").mkdir()
    for name, count in (("train", 5), ("val", 2), ("test", 3)):
        np.save(tmp_path / "in" / f"{name}.npy", vectors(count))
    made, _, _ = prepare(tmp_path / "in", tmp_path / "out")
    assert made.dataset.splits == {"train": 5, "val": 2, "test": 3}
    assert made.dataset.frames == 6


def test_pixels_are_taken_as_they_are(tmp_path):
    x = np.random.default_rng(0).random((6, 4, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "in.npy", x)
    made, _, told = prepare(tmp_path / "in.npy", tmp_path / "out")
    held = made.dataset
    assert (held.modality, held.size, held.channels, held.statistics) == ("video", 8, 3, None)
    assert "2 x - 1 for [0, 1]" in told
    assert (made.recipe.backbone.kind, made.recipe.clips.size) == ("unet", 8)
    np.save(tmp_path / "wide.npy", x[..., :6])
    with pytest.raises(InputError, match="8 x 6, expected squares"):
        prepare(tmp_path / "wide.npy", tmp_path / "other")


def test_what_does_not_fit_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", vectors(10))
    np.save(tmp_path / "in" / "b.npy", vectors(10)[..., :2])
    np.save(tmp_path / "in" / "c.npy", np.arange(5))
    (tmp_path / "in" / "d.npz").write_bytes(b"no archive")
    made, said, _ = prepare(tmp_path / "in", tmp_path / "out")
    assert sum(made.dataset.splits.values()) == 10
    assert [line.partition(": ")[0] for line in said] == ["/b.npy", "/c.npy", "/d.npz"]
    assert "holds frames (2,), expected (3,)" in said[0]
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.npy").unlink()
    with pytest.raises(InputError, match="no file holds clips"):
        prepare(tmp_path / "in", tmp_path / "other")


def sides_of(made):
    """Return the splits that each content is in, by the bytes of its clip."""
    seen = {}
    for split in made.dataset.splits:
        for x in open_clips(made.folder, split).x:
            seen.setdefault(x.tobytes(), []).append(split)
    return seen


def test_a_file_that_is_there_twice_is_used_once(tmp_path):
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "one.npz", x=vectors(20))
    (tmp_path / "in" / "two.npz").write_bytes((tmp_path / "in" / "one.npz").read_bytes())
    made, said, _ = prepare(tmp_path / "in", tmp_path / "out")
    assert said == ["/two.npz: holds the same bytes as one.npz; left out"]
    assert made.dataset.splits == {"train": 16, "val": 2, "test": 2}
    assert all(len(splits) == 1 for splits in sides_of(made).values())


def test_of_a_file_in_two_splits_the_training_part_keeps_it(tmp_path):
    (tmp_path / "in").mkdir()
    for name, seed in (("train", 0), ("test", 0), ("val", 1)):
        np.save(tmp_path / "in" / f"{name}.npy", vectors(3, seed=seed))
    made, said, _ = prepare(tmp_path / "in", tmp_path / "out")
    assert said == ["/test.npy: holds the same bytes as train.npy; left out"]
    assert made.dataset.splits == {"train": 3, "val": 3}


@pytest.mark.parametrize("seed", range(5))
def test_equal_clips_are_on_one_side(tmp_path, seed):
    (tmp_path / "in").mkdir()
    x = vectors(12)
    np.save(tmp_path / "in" / "a.npy", x)
    np.savez(tmp_path / "in" / "b.npz", x=np.pad(x[::-1], [(0, 0), (0, 2), (0, 0)]), lengths=[6] * 12)
    made, said, _ = prepare(tmp_path / "in", tmp_path / "out", val_share=0.3, test_share=0.3, seed=seed)
    assert (said, made.dataset.splits) == ([], {"train": 8, "val": 8, "test": 8})
    seen = sides_of(made)
    assert len(seen) == 12
    assert all(len(splits) == 2 and len(set(splits)) == 1 for splits in seen.values())
