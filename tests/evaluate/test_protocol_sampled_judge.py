"""judge: one factor drawn from the prior; scores of what was kept, of what was drawn, and of real clips."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from protocol_jobs import CLASSES, DYNAMIC, STATIC, Stand, Swapper, counted, job, one, painted, shapes_job, values

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import table
from diffsda.evaluate.draws import base
from diffsda.evaluate.inception import balanced, inception_score, judged_accuracy, marginal_entropy
from diffsda.evaluate.protocols import sampled_judge
from diffsda.factors import Factors
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Prior
from diffsda.recipe import Recipe
from diffsda.tasks.generate import unconditional_swap


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


def test_longer_clips_are_cut_to_the_prior_and_every_row_says_so():
    clips = painted()
    longer = dataclasses.replace(clips, x=np.repeat(clips.x, 2, axis=1))
    lengths = np.arange(96) % 5 + 2
    varied = dataclasses.replace(longer, lengths=lengths)
    for test, held in ((longer, 96), (varied, int((lengths >= 4).sum()))):
        rows = sampled_judge.run(job(Painter(), prior=Dice(), test=test))
        assert {row.notes for row in rows} == {
            (f"clips cut to the prior's 4 frames ({held} of 96 are at least as long)",)
        }
        assert one(rows, "accuracy", about="s drawn").count == held
        assert one(rows, "accuracy_static_frozen", about="d drawn").count == held
        assert values(rows)["accuracy"] == values(rows)["accuracy_static_frozen"] == 1
    assert not any(row.notes for row in sampled_judge.run(job(Painter(), prior=Dice())))


def test_shorter_clips_leave_drawn_dynamics_open():
    clips = painted()
    test = Clips(clips.x[:, :3], lengths=np.arange(96) % 2 + 2, labels=clips.labels, name="sprites")
    drawn = []

    class Watched(Dice):
        def sample(self, count, seeds, steps=None, rule=None):
            drawn.append(count)
            return super().sample(count, seeds)

    rows = sampled_judge.run(job(Painter(), prior=Watched(), test=test, batch=96))
    # Drawn for the one direction alone.
    assert drawn == [96]
    whole = sampled_judge.run(job(Painter(), prior=Dice(), batch=96))
    assert [(row.metric, row.about) for row in rows] == [(row.metric, row.about) for row in whole]
    for row in rows:
        undone = row.about.startswith("d drawn")
        assert math.isnan(row.values[0]) == undone
        assert ("draws dynamics of 4 frames and the longest clip of sprites has 3" in row.reason) == undone
        assert "--frames" not in row.reason
    assert values(rows)["accuracy"] == 1


def test_drawn_clips_of_two_seeds_have_nothing_in_common():
    seen = {}
    for seed in (0, 1):

        class Watched(Dice):
            def sample(self, count, seeds, steps=None, rule=None, seed=seed):
                seen.setdefault(seed, set()).update(seeds)
                return super().sample(count, seeds)

        judged_by = job(Painter(), prior=Watched(), seed=seed)
        sampled_judge.run(judged_by)
    assert len(seen[0]) == len(seen[1]) == 96
    assert not seen[0] & seen[1]


def test_a_real_prior_end_to_end(randomise):
    given = shapes_job(static=("colour",), seed=1)
    randomise(given.model)
    encoder = given.model.recipe.encoder
    sizes = Sizes(static=encoder.static, dynamic=encoder.dynamic, frames=4)
    prior = randomise(LatentPrior(Prior(layers=3, width=1, sampling_steps=4), sizes)).eval()
    nearest, shown = given.shelf.reader(np.zeros(0), ()), []

    class Watching(type(nearest)):
        def read(self, clips, lengths=None):
            shown.append(clips)
            return super().read(clips, lengths)

    nearest.__class__ = Watching
    rows = sampled_judge.run(dataclasses.replace(given, prior=prior))
    # The real clips (in two batches of 7 and 3), then either direction.
    real, static, dynamic = (np.concatenate(shown[i : i + 2]) for i in (0, 2, 4))
    np.testing.assert_array_equal(real, given.test.x)
    for drawn, clips, label in (("static", static, "path"), ("dynamic", dynamic, "colour")):
        seeds = {"seed": base(1, "noise"), "prior_seed": base(1, "prior")}
        made = unconditional_swap(given.model, prior, given.test, drawn, **seeds)
        np.testing.assert_allclose(clips, np.clip(made, -1, 1), atol=1e-3)
        said, end = nearest.read(clips)[label], "" if drawn == "static" else "_static_frozen"
        truth = table(given.test, (label,))[label]
        assert one(rows, f"accuracy{end}").values[0] == judged_accuracy(said, truth)
        about = "s drawn" if drawn == "static" else "d drawn"
        even = said[balanced(truth, 1)]
        for name, score in (("inception_score", inception_score), ("marginal_entropy", marginal_entropy)):
            assert one(rows, f"{name}{end}", about=about).values[0] == pytest.approx(score(even))
    assert np.abs(static - dynamic).max() > 0.1
