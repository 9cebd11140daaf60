"""What a folder holds, who goes where, and how large a model the data can feed."""

import json
from collections import Counter
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.own.infer import look
from diffsda.data.own.recipe_draft import draft, write_draft
from diffsda.data.own.splitting import draw, in_time, split_of
from diffsda.data.prepared import Dataset
from diffsda.errors import InputError
from diffsda.presets import preset
from diffsda.recipe import Recipe


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("a.mp4", "b/c.MOV", "notes.txt"), "videos"),
        (("v/1.png", "v/2.png"), "videos"),
        (("a.wav", "b.flac"), "sounds"),
        (("a.csv", ".hidden.npz", "__MACOSX/a.wav"), "tables"),
        (("a.npz",), "arrays"),
    ],
)
def test_a_folder_is_what_its_files_are(tmp_path, names, kind):
    told = []
    found = look(touch(tmp_path, *names), None, told.append)
    assert found.kind == kind
    assert all(path.is_file() for path in found.paths)
    assert any("1 .txt" in words for words in told) is ("notes.txt" in names)


def test_several_kinds_must_be_told_apart(tmp_path):
    touch(tmp_path, "a.mp4", "b.wav", "c.csv")
    with pytest.raises(InputError, match="got 1 videos, 1 sounds, 1 tables, expected one kind"):
        look(tmp_path, None, print)
    assert look(tmp_path, "audio", lambda words: None).kind == "sounds"
    assert look(tmp_path / "c.csv", None, lambda words: None).paths == (tmp_path / "c.csv",)


@pytest.mark.parametrize(("name", "reason"), [("none", "no such folder or file"), ("a.txt", "got 1 .txt, expected")])
def test_nothing_to_use_is_refused(tmp_path, name, reason):
    touch(tmp_path, "a.txt")
    with pytest.raises(InputError, match=reason):
        look(tmp_path / name, None, print)
    with pytest.raises(InputError, match="expected sounds or arrays"):
        look(tmp_path, "audio", print)


@given(
    groups=st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=60),
    shares=st.tuples(st.floats(0, 0.45), st.floats(0, 0.45)),
    seed=st.integers(0, 5),
)
def test_a_group_is_on_one_side_and_training_keeps_one(groups, shares, seed):
    sides = draw(groups, *shares, seed)
    of = {group: {side for other, side in zip(groups, sides) if other == group} for group in groups}
    assert all(len(side) == 1 for side in of.values())
    assert "train" in sides
    assert draw(groups[::-1], *shares, seed) == sides[::-1], "the order in which items come changes nothing"
    count = Counter(side for (side,) in of.values())
    for split, share in zip(("val", "test"), shares):
        assert count[split] <= max(1, round(share * len(of)))
        assert count[split] or not share or len(of) < 3


def test_one_series_is_held_out_at_its_end():
    assert in_time(10, 0.1, 0.2) == ["train"] * 7 + ["val"] + ["test"] * 2
    assert in_time(1, 0.5, 0.4) == ["train"]
    assert in_time(2, 0.1, 0.1) == ["train", "test"]
    assert in_time(5, 0, 0) == ["train"] * 5


def test_splits_are_told_by_the_first_folder_alone():
    assert split_of(PurePosixPath("Training/a/b.wav")) == "train"
    assert split_of(PurePosixPath("dev/b.wav")) == "val"
    assert split_of(PurePosixPath("a/test/b.wav")) is None
    assert split_of(PurePosixPath("test")) is None, "a file is no folder"


def held(**changes):
    plain = {
        "kind": "arrays",
        "name": "mine",
        "modality": "series",
        "frames": 24,
        "channels": 6,
        "splits": {"train": 9},
    }
    return Dataset(**{**plain, **changes})


def test_a_recipe_grows_with_the_data():
    few = draft(held(), clips=9, total=216)
    many = draft(held(), clips=90_000, total=2_160_000)
    tiny, timit = preset("tiny_vector"), preset("timit")
    assert (few.backbone, few.encoder) == (tiny.backbone, tiny.encoder)
    assert (many.backbone, many.encoder) == (timit.backbone, timit.encoder)
    assert (few.optim.batch, many.optim.batch) == (9, 32)
    assert few.clips.frames == 24
    assert draft(held(frames=None), clips=1, total=9).optim.batch == 2


@pytest.mark.parametrize(("size", "like", "total"), [(16, "tiny_video", 100), (64, "mug", 10**6)])
def test_a_recipe_for_videos_has_a_presets_shape(size, like, total):
    made = draft(held(modality="video", channels=3, size=size), clips=9, total=total, stride=2)
    assert (made.backbone, made.encoder) == (preset(like).backbone, preset(like).encoder)
    assert (made.noise, made.clips.stride) == (preset(like).noise, 2)


@pytest.mark.parametrize("size", [4, 8, 20, 32, 36, 100, 128, 256])
@pytest.mark.parametrize("latent", [False, True])
def test_every_size_has_a_recipe(size, latent):
    made = draft(held(modality="video", channels=4, size=size), clips=9, total=100, latent=latent)
    cells = size / 2 ** (len(made.backbone.multipliers) - 1)
    assert 2 <= cells <= 13
    assert made.noise.P_mean == (-0.4 if latent else -1.2)
    assert made.clips.latent is latent


def test_a_recipe_is_read_back_and_one_of_ones_own_stays(tmp_path):
    told = []
    made = draft(held(), clips=9, total=216)
    path = write_draft(made, tmp_path, told.append)
    plain = json.loads(path.read_text())
    assert plain.pop("digest") == made.digest
    assert Recipe.from_dict(plain) == made
    write_draft(made.replace(optim={"batch": 3}), tmp_path, told.append)
    assert json.loads(path.read_text())["optim"]["batch"] == 3
    assert not told
    path.write_text(path.read_text().replace('"batch": 3', '"batch": 5'))
    write_draft(made, tmp_path, told.append)
    assert json.loads(path.read_text())["optim"]["batch"] == 5
    assert "stays as it is" in told[0]
