"""judge: one factor drawn from the prior; scores of what was kept, of what was drawn, and of real clips."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from protocol_jobs import CLASSES, DYNAMIC, STATIC, Stand, Swapper, counted, job, one, painted, shapes_job, values

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.evaluate.protocols import sampled_judge
from diffsda.factors import Factors
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Prior
from diffsda.recipe import Recipe


class Painter(Swapper):
    """A model that paints its factors; what is not a factor of the paint is the clip's."""

    recipe: Recipe = Swapper.recipe.replace(clips={"frames": 4, "size": 8})

    def __init__(self, keeps="all"):
        super().__init__("perfect")
        self.keeps = keeps

    def _like(self):
        return torch.zeros(1)

    def invert(self, x, f, steps, *, lengths=None, progress=iter):
        self.calls.append(("own", len(x)))
        return torch.as_tensor(x)

    def reconstruct(self, x, lengths=None, **rest):
        return torch.as_tensor(x) + 0.02

    def sample(self, f, start, steps, seed, *, lengths=None, progress=iter):
        x = torch.zeros_like(torch.as_tensor(start, dtype=torch.float32))
        x[..., : len(STATIC)] = f.static[:, None, None, None, :]
        x[..., len(STATIC) : len(CLASSES)] = f.dynamic[:, :, None, None, :]
        return x


class Dice:
    """A prior that draws labels' paint evenly, from the seed of every clip."""

    sizes = Sizes(static=len(STATIC), dynamic=len(DYNAMIC), frames=4)

    def sample(self, count, seeds, steps=None, rule=None):
        assert count == len(seeds)
        draws = [np.random.default_rng(seed).integers(list(CLASSES.values())) / 4 for seed in seeds]
        paint = torch.tensor(np.array(draws), dtype=torch.float32)
        dynamic = paint[:, None, len(STATIC) :].expand(-1, 4, -1)
        return Factors(paint[:, : len(STATIC)], dynamic.clone())


def judged(**more):
    """The rows of the painter over every combination twice."""
    return sampled_judge.run(job(Painter(), prior=Dice(), **more))


def test_what_is_kept_is_read_and_what_is_drawn_varies():
    rows = judged(static=("sex",), dynamic=("action",))
    found = values(rows)
    assert found["accuracy"] == found["accuracy_static_frozen"] == 1
    # A sure reader of three actions, as many of each.
    assert found["inception_score"] == pytest.approx(3)
    assert found["conditional_entropy"] == 0
    assert found["marginal_entropy"] == pytest.approx(math.log(3))
    assert found["inception_score_static_frozen"] == pytest.approx(2)
    # What was drawn is right by chance; 96 draws deviate by 0.05.
    assert abs(found["still_sex"] - 1 / 2) < 0.2
    assert abs(found["still_action"] - 1 / 3) < 0.2
    assert one(rows, "still_sex").better == "lower"


def test_several_labels_have_a_row_each_and_all_of_them_one():
    rows = judged()
    found = values(rows)
    assert found["accuracy"] == 1
    assert {f"accuracy_{name}" for name in DYNAMIC} <= set(found)
    assert {f"inception_score_static_frozen_{name}" for name in STATIC} <= set(found)
    assert found["marginal_entropy_direction"] == pytest.approx(math.log(2))
    assert one(rows, "accuracy", baseline=True, about="chance").values == (pytest.approx(1 / 6),)
    assert one(rows, "accuracy_static_frozen", baseline=True, about="chance").values == (pytest.approx(1 / 16),)
    assert one(rows, "accuracy", baseline=True, about="ceiling").values == (1.0,)


def test_scores_are_over_as_many_clips_of_every_class():
    clips = painted()
    rows = np.flatnonzero((clips.labels["action"] != 2) | (np.arange(96) % 12 < 5))
    given = judged(test=clips.select(rows), fit=clips, static=("sex",), dynamic=("action",))
    rare = int((clips.labels["action"][rows] == 2).sum())
    assert 0 < rare < 32
    assert one(given, "inception_score").count == 3 * rare
    assert one(given, "marginal_entropy").values[0] == pytest.approx(math.log(3))
    assert one(given, "accuracy").count == len(rows)


def test_a_start_noise_of_the_clip_only_where_it_lends_the_dynamics():
    model = Painter()
    seen, track = counted()
    sampled_judge.run(job(model, prior=Dice(), track=track, batch=50))
    assert model.calls == [("own", 50), ("own", 46)]
    # Two batches of 3 steps, with inversion for the first direction and for reconstructions.
    assert (seen.tracks, seen.total) == (3, 2 * 3 * 5)


def test_reconstructions_are_compared_in_pixels_from_0_to_1():
    row = one(judged(static=("sex",), dynamic=()), "reconstruction_mse")
    x = painted().x.astype(float)
    assert row.values[0] == pytest.approx(np.mean((np.clip(x + 0.02, -1, 1) - x) ** 2) / 4, rel=1e-5)


def test_the_batch_changes_nothing():
    rows = [[(row.metric, row.values) for row in judged(batch=batch, seed=5)] for batch in (7, 96)]
    assert rows[0] == rows[1]


def test_without_a_prior_it_says_how_to_get_one():
    with pytest.raises(InputError, match="train-prior"):
        sampled_judge.run(job(Painter()))


def test_labels_that_are_not_there():
    rows = judged(dynamic=())
    assert one(rows, "accuracy").reason == "sprites has no dynamic labels"
    assert values(rows)["accuracy_static_frozen"] == 1
    with pytest.raises(InputError, match="expected a label of whole clips"):
        judged(static=(), dynamic=())


def test_clips_whose_label_is_not_known_are_left_out():
    clips = painted()
    labels = {**clips.labels, "sex": np.where(np.arange(96) < 90, clips.labels["sex"], -1)}
    rows = judged(test=Clips(clips.x, labels=labels, name="sprites"), fit=clips)
    assert one(rows, "accuracy").count == 90


def test_one_class_leaves_its_scores_open():
    clips = painted()
    rows = judged(test=clips.select(clips.labels["action"] == 1), fit=clips, static=("sex",), dynamic=("action",))
    assert one(rows, "accuracy").values == (1.0,)
    assert one(rows, "inception_score").reason == "all test clips have one action"


def test_a_reader_of_other_classes_is_refused():
    with pytest.raises(InputError, match="reads 2 classes of action"):
        judged(shelf=Stand(fewer=1), static=())


def test_a_real_prior_end_to_end():
    given = shapes_job(static=("colour",))
    encoder = given.model.recipe.encoder
    sizes = Sizes(static=encoder.static, dynamic=encoder.dynamic, frames=4)
    prior = LatentPrior(Prior(layers=3, width=1, sampling_steps=4), sizes).eval()
    rows = sampled_judge.run(dataclasses.replace(given, prior=prior))
    for metric in ("accuracy", "inception_score", "conditional_entropy", "marginal_entropy", "accuracy_static_frozen"):
        assert math.isfinite(one(rows, metric).values[0])
    assert 1 <= values(rows)["inception_score"] <= 3
    assert values(rows)["marginal_entropy"] <= math.log(3) + 1e-9
