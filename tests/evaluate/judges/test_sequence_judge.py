"""A trained judge reads what can be seen, ignores what it should, and is the same judge after a trip to disk."""

import dataclasses

import numpy as np
import pytest
import torch
from judge_toys import squares

from diffsda.errors import CheckpointError, InputError
from diffsda.evaluate.clip_labels import UNKNOWN
from diffsda.evaluate.judges.examples import Examples, share
from diffsda.evaluate.judges.network import Form, SequenceNetwork
from diffsda.evaluate.judges.sequence import SequenceJudge
from diffsda.evaluate.judges.sequence_file import load, save
from diffsda.evaluate.judges.training import Settings, moved

SMALL = Settings(channels=8, features=32, hidden=16, updates=150, batch=16, checks=4, blur=0.0, shift=0.0)
QUICK = dataclasses.replace(SMALL, updates=2)


@pytest.fixture(scope="module")
def judge():
    clips, labels = squares(200)
    names = {"colour": ("red", "green", "blue")}
    return SequenceJudge.fit(clips, labels, names=names, frame_labels=("colour",), settings=SMALL)


def test_it_reads_clips_it_has_never_seen(judge):
    clips, labels = squares(60, seed=1)
    read = judge.read(clips)
    assert {name: p.shape for name, p in read.items()} == {"colour": (60, 3), "way": (60, 2)}
    assert all(np.allclose(p.sum(1), 1) and (p >= 0).all() for p in read.values())
    assert share(read["colour"], labels["colour"]) >= 0.95
    # The way is in no single frame: time has been looked at.
    assert share(read["way"], labels["way"]) >= 0.95
    assert min(judge.accuracy.values()) >= 0.9


def test_its_classes_have_names(judge):
    assert judge.factors == {"colour": ("red", "green", "blue"), "way": ("0", "1")}
    assert judge.substitute
    assert judge.name == "sequence"


def test_it_reads_single_frames(judge):
    clips, labels = squares(20, seed=2)
    clips[:10, 2:] = clips[10:, 2:]  # the last frames show another square
    read = judge.read_frames(clips, np.full(20, 3))["colour"]
    assert read.shape == (20, 4, 3)
    assert np.isnan(read[:, 3]).all()
    assert (read[:10, :2].argmax(-1) == labels["colour"][:10, None]).mean() >= 0.95
    assert (read[:10, 2].argmax(-1) == labels["colour"][10:]).mean() >= 0.9
    assert judge.frame_accuracy["colour"] >= 0.95


def test_padding_is_not_looked_at(judge):
    clips, _ = squares(6, seed=3)
    lengths = np.array([4, 4, 3, 2, 1, 4])
    spoilt = clips.copy()
    for clip, n in zip(spoilt, lengths, strict=True):
        clip[n:] = np.nan
    one, other = judge.read(clips, lengths), judge.read(spoilt, lengths)
    short = judge.read(clips[2:3, :3])
    for name in one:
        assert np.array_equal(one[name], other[name])
        assert np.allclose(one[name][2], short[name][0], atol=1e-6)
    assert np.allclose(judge.describe(clips, lengths)[2], judge.describe(clips[2:3, :3])[0], atol=1e-5)


def test_a_clip_is_read_alike_alone_and_among_others(judge):
    clips, _ = squares(70, seed=4)
    many = judge.read(clips)["way"]
    assert np.allclose(many[69], judge.read(clips[69:])["way"][0], atol=1e-5)


def test_it_learns_from_clips_of_unequal_length_and_ignores_unknown_labels():
    clips, labels = squares(120, seed=5)
    lengths = np.random.default_rng(0).integers(2, 5, 120)
    for clip, n in zip(clips, lengths, strict=True):
        clip[n:] = np.nan
    colour = np.where(np.arange(120) % 2 == 0, UNKNOWN, labels["colour"])
    judge = SequenceJudge.fit(clips, {"colour": colour}, lengths=lengths, settings=SMALL)
    fresh, truth = squares(40, seed=6)
    read = judge.read(fresh, np.full(40, 2))["colour"]
    assert read.shape == (40, 3)
    assert share(read, truth["colour"]) >= 0.95


def test_vectors_are_read_too():
    draw = np.random.default_rng(0)
    level, slope = draw.integers(0, 2, 150), draw.integers(0, 2, 150)
    time = np.linspace(-1, 1, 6)[None, :, None] * (2 * slope[:, None, None] - 1)
    x = 1000 * (level[:, None, None] + 0.5 * time) + draw.normal(0, 20, (150, 6, 3))
    judge = SequenceJudge.fit(x[:100], {"level": level[:100], "slope": slope[:100]}, settings=SMALL)
    read = judge.read(x[100:])
    assert share(read["level"], level[100:]) >= 0.95
    assert share(read["slope"], slope[100:]) >= 0.95


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (12, 20), (33, 16), (32, 32), (128, 128)])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_size_fit(size, channels):
    network = SequenceNetwork(Form(frame=(channels, *size), classes={"a": 2}, channels=2, features=8, hidden=4))
    whole, single = network(torch.randn(2, 3, channels, *size), torch.tensor([3, 1]))
    assert whole["a"].shape == (2, 2)
    assert single == {}


def test_the_same_seed_gives_the_same_judge_and_draws_are_left_alone():
    clips, labels = squares(40, seed=9)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (SequenceJudge.fit(clips, labels, seed=seed, settings=QUICK) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(one.read(clips)["way"], same.read(clips)["way"])
    assert not np.array_equal(one.read(clips)["way"], other.read(clips)["way"])
    assert one.version == same.version != other.version


def test_whatever_decides_a_judge_changes_its_key():
    clips, labels = squares(10, seed=9)
    examples = Examples.of(clips, labels)
    moved_one = clips.copy()
    moved_one[0, 0, 0, 0, 0] += 1
    relabelled = {**labels, "way": 1 - labels["way"]}
    keys = {
        examples.key(0, SMALL),
        examples.key(1, SMALL),
        examples.key(0, QUICK),
        Examples.of(moved_one, labels).key(0, SMALL),
        Examples.of(clips, relabelled).key(0, SMALL),
        Examples.of(clips, labels, lengths=np.full(10, 3)).key(0, SMALL),
        Examples.of(clips, labels, frame_labels=("way",)).key(0, SMALL),
        Examples.of(clips, labels, names={"way": ("a", "b")}).key(0, SMALL),
    }
    assert len(keys) == 8
    assert Examples.of(clips.copy(), dict(labels)).key(0, SMALL) in keys


def test_a_file_holds_the_whole_judge(judge, tmp_path):
    clips, _ = squares(6, seed=3)
    again = load(save(judge, tmp_path / "judge.safetensors"))
    assert np.array_equal(again.read(clips)["way"], judge.read(clips)["way"])
    assert np.array_equal(again.read_frames(clips)["colour"], judge.read_frames(clips)["colour"])
    for name in ("factors", "accuracy", "frame_accuracy", "key", "settings", "seed", "form", "version"):
        assert getattr(again, name) == getattr(judge, name)


def test_files_that_are_none_are_refused(judge, tmp_path):
    path = save(judge, tmp_path / "judge.safetensors")
    data = path.read_bytes()
    cut, other, odd = tmp_path / "cut", tmp_path / "other", tmp_path / "odd"
    cut.write_bytes(data[:-10])
    other.write_bytes(data.replace(b"sequence judge", b"sequence fudge"))
    odd.write_bytes(data.replace(b'hidden\\": 16', b'hidden\\": 17'))
    for bad, said in ((cut, "truncated"), (other, "no sequence judge"), (odd, "do not fit"), (tmp_path / "no", "read")):
        with pytest.raises(CheckpointError, match=said):
            load(bad)


def test_other_data_is_refused(judge):
    clips, labels = squares(4, size=16)
    with pytest.raises(InputError, match=r"frames of shape \(3, 12, 12\)"):
        judge.read(clips)
    with pytest.raises(InputError, match="not finite"):
        judge.read(np.full((1, 4, 3, 12, 12), np.inf))
    with pytest.raises(InputError, match="'shape'"):
        judge.check({"shape": labels["way"]})
    with pytest.raises(InputError, match="colour: got class 3, expected at most 2"):
        judge.check({"colour": np.array([0, 3])})
    judge.check({"colour": labels["colour"], "way": np.full(4, UNKNOWN)})


def test_a_judge_of_clips_says_nothing_of_frames():
    clips, labels = squares(10)
    judge = SequenceJudge.fit(clips, labels, settings=QUICK)
    with pytest.raises(InputError, match="single frames"):
        judge.read_frames(clips)


def test_a_label_a_frame_counts_where_it_is_constant():
    clips, labels = squares(10)
    steady = np.repeat(labels["way"][:, None], 4, axis=1)
    steady[0, 1] = UNKNOWN
    held = Examples.of(clips, {"way": steady})
    assert np.array_equal(held.labels["way"], labels["way"])
    padded = steady.copy()
    padded[3, 3] = 1 - padded[3, 0]
    assert np.array_equal(Examples.of(clips, {"way": padded}, lengths=np.full(10, 3)).labels["way"], labels["way"])
    with pytest.raises(InputError, match=r"changes within 1 of 10 clips \(clip 3 first\)"):
        Examples.of(clips, {"way": padded})


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        ({}, None, "no labels"),
        ({"a": np.zeros(6, int)}, None, "got 1 classes"),
        ({"a": np.full(6, UNKNOWN)}, None, "got 0 classes"),
        ({"a": np.array([0, 1, 2, 0, 1, 2])}, {"a": ("x", "y")}, "class 2, expected at most 1"),
        ({"a": np.array([0, 1, -2, 0, 1, 1])}, None, "got -2"),
        ({"a": np.zeros(5, int)}, None, r"shape \(5,\)"),
        ({"a": np.linspace(0, 1, 6)}, None, "float64"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(labels, names, said):
    clips, _ = squares(6)
    with pytest.raises(InputError, match=said):
        SequenceJudge.fit(clips, labels, names=names, settings=QUICK)


def test_clips_that_cannot_be_learned_from_are_refused():
    label = {"a": np.array([0, 1, 0, 1])}
    for clips, said in (
        (np.zeros((4, 3, 3, 7, 16)), "8 a side"),
        (np.zeros((4, 3)), r"\(4, 3\)"),
        (np.full((4, 3, 2), np.nan), "not finite"),
    ):
        with pytest.raises(InputError, match=said):
            SequenceJudge.fit(clips, label, settings=QUICK)
    with pytest.raises(InputError, match="three at least"):
        SequenceJudge.fit(np.zeros((2, 3, 2)), {"a": np.array([0, 1])}, settings=QUICK)
    with pytest.raises(InputError, match="frame_labels: got 'b'"):
        SequenceJudge.fit(np.zeros((4, 3, 2)), label, frame_labels=("b",), settings=QUICK)


@pytest.mark.parametrize("bad", [{"batch": 1}, {"updates": 0}, {"held_out": 1.0}, {"held_out": 0.0}])
def test_settings_that_will_not_do_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        Settings(**bad)


def test_pictures_move_by_whole_pixels():
    x = torch.arange(12.0).view(1, 1, 1, 3, 4)
    assert torch.equal(moved(x, 0, 0), x)
    assert moved(x, 1, 0)[0, 0, 0].tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert moved(x, 0, -1)[0, 0, 0].tolist() == [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]]


def test_training_stops_when_nothing_gets_better(monkeypatch):
    from diffsda.evaluate.judges import training

    losses = iter([3.0, 2.0, 2.5, 2.6, 2.7, 1.0])
    weights = []

    def told(network, held):
        weights.append(network.heads[0].weight.detach().clone())
        return next(losses)

    monkeypatch.setattr(training, "held_loss", told)
    clips, labels = squares(20)
    settings = dataclasses.replace(SMALL, updates=60, checks=30, patience=3)
    judge = SequenceJudge.fit(clips, {"way": labels["way"]}, settings=settings)
    assert len(weights) == 5
    assert torch.equal(judge.network.heads[0].weight, weights[1])
    assert not torch.equal(weights[1], weights[4])


def test_a_loss_that_is_lost_is_an_error(monkeypatch):
    from diffsda.evaluate.judges import training

    monkeypatch.setattr(training, "held_loss", lambda network, held: float("nan"))
    clips, labels = squares(20)
    with pytest.raises(InputError, match="not finite"):
        SequenceJudge.fit(clips, labels, settings=QUICK)
