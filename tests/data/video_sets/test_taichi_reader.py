"""TaiChi-HD: clips in every form, split by folders, by lists or by drawing, as published and in order."""

import pytest
from sklearn.model_selection import train_test_split
from trees import frames, gif, pickled, video

from diffsda.data.problems import Problems
from diffsda.data.video.taichi import read
from diffsda.errors import InputError

TRAIN = [f"vid{n}#000{n}#100.mp4" for n in range(12)]
TEST = [f"other{n}#0#1.mp4" for n in range(3)]


def tree(root, train=TRAIN, test=TEST):
    """Write folders of frames, called as videos, as the set's own script leaves them."""
    for part, names in (("train", train), ("test", test)):
        for name in names:
            frames(root / "TAICHI/taichi-png" / part / name, range(1), make=lambda n: b"x")
    return root / "TAICHI/taichi-png"


def parts(found):
    return {split: [c.key for c in found.clips if c.split == split] for split in ("train", "test")}


@pytest.mark.parametrize("inside", ["", "TAICHI", "TAICHI/taichi-png"])
def test_split_by_folders(tmp_path, inside):
    tree(tmp_path)
    found = read(tmp_path / inside, Problems())
    assert parts(found)["train"][:3] == [f"train/{TRAIN[0]}", f"train/{TRAIN[1]}", f"train/{TRAIN[2]}"]
    assert parts(found)["train"][-1] == f"train/{TRAIN[11]}"
    assert parts(found)["test"] == [f"test/{name}" for name in TEST]
    assert {clip.order for clip in found.clips} == {"number"}
    names = found.label_names["video"]
    assert all(names[clip.labels["video"]] == clip.source.name.split("#")[0] for clip in found.clips)


def test_every_form_of_a_clip(tmp_path):
    top = tree(tmp_path, TRAIN[:1], TEST[:1])
    gif(top / "train/a.gif", 2)
    video(top / "train/b.mp4", 2)
    (top / "train/strip.png").write_bytes(b"x")
    (top / "train/notes.doc").write_bytes(b"x")
    (top / "train/.DS_Store").write_bytes(b"x")
    problems = Problems()
    found = read(tmp_path, problems)
    assert parts(found)["train"] == ["train/a.gif", "train/b.mp4", "train/strip.png", f"train/{TRAIN[0]}"]
    assert [problem.path for problem in problems] == [str(top / "train/notes.doc")]
    assert found.clips[0].labels == {}


def test_a_clip_on_both_sides_is_named(tmp_path):
    top = tree(tmp_path, TRAIN[:2], [TRAIN[1], TEST[0]])
    problems = Problems()
    assert parts(read(tmp_path, problems))["test"] == [f"test/{TEST[0]}"]
    ((problem,),) = (tuple(problems),)
    assert problem.path == str(top / "test" / TRAIN[1])
    assert problem.reason == f"is also there as train/{TRAIN[1]}; it is left out"


def test_newsplit_is_scikit_learns(tmp_path):
    tree(tmp_path)
    found = read(tmp_path, Problems(), newsplit=True)
    everything = [f"train/{name}" for name in TRAIN] + [f"test/{name}" for name in sorted(TEST)]
    train, test = train_test_split(everything, random_state=0, test_size=0.1)
    assert len(test) == 2
    assert {part: set(keys) for part, keys in parts(found).items()} == {"train": set(train), "test": set(test)}
    assert found.options["split"] == "drawn, 90/10"
    assert "both sides" in found.remarks[0]


def test_newsplit_as_published_draws_from_the_order_of_the_disk(tmp_path, monkeypatch):
    import os

    listdir = os.listdir
    top = tree(tmp_path)

    def shuffled(folder):
        return sorted(listdir(folder), key=lambda name: name[::-1])

    monkeypatch.setattr("os.listdir", shuffled)
    found = read(tmp_path, Problems(), newsplit=True, as_published=True)
    everything = [f"{part}/{name}" for part in ("train", "test") for name in shuffled(top / part)]
    train, test = train_test_split(everything, random_state=0, test_size=0.1)
    assert {part: set(keys) for part, keys in parts(found).items()} == {"train": set(train), "test": set(test)}
    assert [clip.key for clip in found.clips] == everything
    assert {clip.split: clip.order for clip in found.clips} == {"train": "disk", "test": "text"}


def test_newsplit_by_lists(tmp_path):
    top = tree(tmp_path)
    pickled(top / "split_256_vq8_train.pkl", [TRAIN[0], TEST[0], "gone.mp4"])
    pickled(top / "split_256_vq8_test.pkl", [TRAIN[3], TRAIN[0]])
    problems = Problems()
    found = read(tmp_path, problems, newsplit=True)
    assert parts(found) == {"train": [f"train/{TRAIN[0]}", f"test/{TEST[0]}"], "test": [f"train/{TRAIN[3]}"]}
    assert [problem.reason for problem in problems] == [
        "1 of its 3 names have no clip, the first: 'gone.mp4'",
        f"{TRAIN[0]!r} is also in split_256_vq8_train.pkl; it stays in train",
    ]
    assert read(tmp_path, Problems()).options["split"] == "folders"


def test_lists_that_are_not_there(tmp_path):
    top = tree(tmp_path)
    pickled(top / "split_64_None_train.pkl", TRAIN)
    problems = Problems()
    assert read(tmp_path, problems, newsplit=True).options["split"] == "drawn, 90/10"
    assert [problem.path for problem in problems] == [str(top / "split_64_None_test.pkl")]
    with pytest.raises(InputError, match=r"--lists: got 64_None, but .*split_64_None_test\.pkl is missing"):
        read(tmp_path, problems, lists="64_None")
    pickled(top / "split_256_vq8_train.pkl", TRAIN)
    with pytest.raises(InputError, match="--lists: found 64_None, 256_vq8, expected one"):
        read(tmp_path, problems, newsplit=True)
    (top / "split_256_vq8_test.pkl").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(InputError, match=r"split_256_vq8_test\.pkl: cannot be read as a pickled list"):
        read(tmp_path, problems, lists="256_vq8")


def test_a_folder_that_is_not_parted_is_drawn_from(tmp_path):
    for name in TRAIN[:10]:
        frames(tmp_path / "taichi" / name, range(1), make=lambda n: b"x")
    found = read(tmp_path, Problems())
    train, test = train_test_split(TRAIN[:10], random_state=0, test_size=0.2)
    assert {part: set(keys) for part, keys in parts(found).items()} == {"train": set(train), "test": set(test)}


def test_pairs(tmp_path):
    top = tree(tmp_path)
    (top / "celebv_pairs.csv").write_text(
        f"filename_A,filename_B\ntest/{TEST[0]},test/{TEST[1]}\ntest/{TEST[0]},train/{TRAIN[0]}\n", encoding="utf-8"
    )
    problems = Problems()
    ((pair),) = read(tmp_path, problems).pairs
    assert (pair.first, pair.second) == (f"test/{TEST[0]}", f"test/{TEST[1]}")
    assert [problem.line for problem in problems] == [3]


def test_nothing_there_says_where_to_get_it(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_bytes(b"x")
    with pytest.raises(InputError, match=r"found no TaiChi-HD in .* get it from https://github\.com/Aliaksandr"):
        read(tmp_path, Problems())
