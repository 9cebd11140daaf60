"""The protocol of generation: samples that are real ones, samples that are not, and rows without a judge."""

import math
from contextlib import nullcontext

import lookers
import numpy as np
import pytest
import torch
from lookers import Averages, Choosy, Late, Lookers, job, row, table, vectors, video

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.evaluate.draws import base
from diffsda.evaluate.frechet import frechet_distance
from diffsda.evaluate.prior_quality import maximum_mean_discrepancy, precision_recall
from diffsda.evaluate.protocols import generation
from diffsda.evaluate.result import merge
from diffsda.factors import Factors
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Prior
from diffsda.tasks.encode import encode
from diffsda.tasks.generate import generate

FRAMES = 6
SIZES = Sizes(static=4, dynamic=2, frames=FRAMES)


class Dealt:
    """A prior that deals out the factors it was given."""

    def __init__(self, f, sizes=SIZES):
        self.f, self.sizes, self.mean = f, sizes, torch.zeros(1)

    def sample(self, count, seed, *, track):
        return self.f[:count]

    def pack(self, f):
        if Sizes.of(f) != self.sizes:
            raise InputError("prior: got factors of other sizes")
        return f.pack()


class Split:
    """A model whose s is the first four features of a clip's first frame, whose d the other two: known answers."""

    recipe = lookers.VECTOR
    stochastic, shared_noise = True, False

    def encode(self, x, lengths=None):
        x = torch.as_tensor(np.asarray(x))
        return Factors(x[:, 0, :4], x[:, :, 4:])

    def evaluating(self):
        return nullcontext()


@pytest.fixture
def model(randomise):
    return lookers.network(lookers.VECTOR, randomise)


@pytest.fixture
def prior(randomise):
    return randomise(LatentPrior(Prior(layers=3, width=2, sampling_steps=4), SIZES))


def factors_of(test):
    return Split().encode(test.x)


def test_without_a_prior_it_says_how_to_get_one(model):
    with pytest.raises(InputError, match="diffsda train-prior"):
        generation.run(job(model, vectors()))


def test_rows_are_what_the_metrics_give(model, prior):
    test, fit = vectors(8), vectors(8, seed=1)
    rows = generation.run(job(model, test, fit, prior=prior, seed=3))
    real, drawn = encode(model, test), prior.sample(8, base(3, "prior"))
    said = {
        "": Averages().describe(generate(model, drawn, seed=base(3, "noise"))),
        "_real_factors": Averages().describe(generate(model, real, seed=base(3, "noise"))),
    }
    truth = Averages().describe(test.x)
    for suffix, features in said.items():
        found = row(rows, f"fvd{suffix}", "FVD;")
        assert found.values[0] == pytest.approx(frechet_distance(features, truth), rel=1e-3)
        assert (found.count, found.judge, found.substitute) == (8, "averages", True)
        assert row(rows, f"precision{suffix}").values[0] == precision_recall(truth, features)[0]
    scale = encode(model, fit).pack().double().numpy().std(0)
    packed = [f.pack().numpy() / scale for f in (real, drawn)]
    found = row(rows, "prior_precision").values[0], row(rows, "prior_recall").values[0]
    assert found == precision_recall(*packed)
    assert row(rows, "prior_mmd").values[0] == pytest.approx(maximum_mean_discrepancy(*packed))
    assert row(rows, "prior_precision").judge == ""


def test_baselines_of_clips_are_real_clips(model, prior):
    test, fit = vectors(8), vectors(8, seed=1)
    rows = generation.run(job(model, test, fit, prior=prior))
    found = row(rows, "fvd", "training part", baseline=True)
    assert found.values[0] == pytest.approx(frechet_distance(Averages().describe(fit.x), Averages().describe(test.x)))
    assert found.count == 8
    nothing = row(rows, "fvd", "halves", baseline=True)
    assert nothing.values[0] > 0
    assert nothing.count == 4
    same = generation.run(job(model, test, test, prior=prior))
    assert row(same, "fvd", "training part", baseline=True).values[0] == pytest.approx(0, abs=1e-9)


def test_samples_that_are_the_real_factors(model):
    test = vectors(8)
    rows = generation.run(job(model, test, vectors(8, seed=1), prior=Dealt(encode(model, test))))
    for part in ("", "_static", "_dynamic"):
        for name in ("precision", "recall"):
            assert row(rows, f"prior_{name}{part}").values[0] == 1.0
        assert row(rows, f"prior_mmd{part}").values[0] <= 0
    # The same factors from the same noise are the same clips.
    assert row(rows, "fvd").values[0] == row(rows, "fvd_real_factors").values[0]


def test_samples_that_are_all_alike():
    test, fit = vectors(60), vectors(60, seed=1)
    one = factors_of(test)[[0] * 60]
    rows = generation.run(job(Split(), test, fit, prior=Dealt(one), shelf=Lookers()))
    assert row(rows, "prior_precision").values[0] == 1.0
    assert row(rows, "prior_recall").values[0] == 1 / 60
    assert row(rows, "prior_mmd").values[0] > 10 * abs(row(rows, "prior_mmd", "training part", True).values[0])


def test_factors_that_belong_together():
    def tied(seed):
        draw = np.random.default_rng(seed)
        x = np.zeros((80, FRAMES, 6), np.float32)
        x[..., :2] = draw.choice([-2, 2], size=(80, 1, 2)) + draw.normal(0, 0.2, (80, 1, 2))
        x[..., 4:] = x[..., :2] + draw.normal(0, 0.2, (80, FRAMES, 2))
        x[..., 2:4] = draw.normal(0, 0.2, (80, 1, 2))
        return Clips(x)

    rows = generation.run(job(Split(), tied(0), tied(1), prior=Dealt(factors_of(tied(2))), shelf=Lookers()))
    apart = row(rows, "prior_precision", "d of another", True).values[0]
    for good in (row(rows, "prior_precision"), row(rows, "prior_precision", "training part", True)):
        assert good.values[0] > 0.8 > 0.5 > apart
    apart = row(rows, "prior_mmd", "d of another", True).values[0]
    for good in (row(rows, "prior_mmd"), row(rows, "prior_mmd", "training part", True)):
        assert apart > 5 * abs(good.values[0])
    # By themselves s and d are what they were: there is no such row of them.
    assert not [r for r in rows if r.metric == "prior_precision_static" and "d of another" in r.about]


@pytest.mark.parametrize(
    ("shelf", "why"),
    [
        (Lookers(), "pip install"),
        (Lookers(clip_features=Late()), "weights"),
        (Lookers(clip_features=Choosy()), "choosy"),
    ],
)
def test_without_a_judge_factors_are_still_scored(model, prior, shelf, why, monkeypatch):
    def never(*args, **options):
        raise AssertionError("clips were sampled for nobody")

    monkeypatch.setattr(generation, "generate", never)
    rows = generation.run(job(model, vectors(), prior=prior, shelf=shelf))
    for one in rows:
        assert math.isnan(one.values[0]) == (not one.metric.startswith("prior"))
        assert (why in one.reason) == (not one.metric.startswith("prior"))


def test_too_few_clips_are_told(model, prior):
    rows = generation.run(job(model, vectors(3), prior=prior))
    assert "N at least 4" in row(rows, "prior_recall").reason
    assert "N at least 4" in row(rows, "fvd", "halves", True).reason
    assert not math.isnan(row(rows, "fvd").values[0])


def test_clips_are_cut_to_the_priors_frames(model, prior):
    lengths = np.array([9, 9, 6, 5, 7, 8, 9])
    held = vectors(7, 9, lengths=lengths)
    rows = generation.run(job(model, held, vectors(9, 7), prior=prior))
    whole = Clips(held.x[lengths >= 6, :6])
    again = generation.run(job(model, whole, Clips(vectors(9, 7).x[:, :6]), prior=prior))
    assert table(rows) == pytest.approx(table(again))
    assert row(rows, "fvd").count == 6
    with pytest.raises(InputError, match="longest clip"):
        generation.run(job(model, vectors(4, 5), prior=prior))


def test_the_batch_does_not_matter(model, prior):
    few, many = (table(generation.run(job(model, vectors(7), prior=prior, batch=b, seed=5))) for b in (2, 64))
    assert few == pytest.approx(many, rel=1e-3, abs=1e-5)


def test_seeds_go_into_one_table(model, prior):
    test, fit = vectors(8), vectors(30, seed=1)
    runs = [generation.run(job(model, test, fit, prior=prior, seed=seed)) for seed in (0, 1)]
    merged = merge(runs)
    assert [r.values for r in merged] == [(*a.values, *b.values) for a, b in zip(*runs, strict=True)]
    # What is drawn is drawn anew: samples, noise, and which of the training clips are compared.
    for metric, baseline in (("fvd", False), ("fvd_real_factors", False), ("fvd", True), ("prior_mmd", False)):
        words = "training part" if baseline else ""
        first, second = row(merged, metric, words, baseline).values
        assert abs(first - second) > 1e-3 * abs(first)


def test_baselines_are_of_as_many_clips_on_both_sides(model, prior, monkeypatch):
    sizes = []
    plain = generation.frechet_distance, generation.prior_quality
    monkeypatch.setattr(generation, "frechet_distance", lambda a, b: sizes.append((len(a), len(b))) or plain[0](a, b))
    monkeypatch.setattr(
        generation, "prior_quality", lambda a, b, **more: sizes.append((len(a), len(b))) or plain[1](a, b, **more)
    )
    rows = generation.run(job(model, vectors(9), vectors(5, seed=1), prior=prior))
    assert set(sizes) == {(9, 9), (5, 5)}
    for metric in ("fvd", "precision", "prior_mmd"):
        assert row(rows, metric, "training part", baseline=True).count == 5
    assert row(rows, "fvd").count == 9


def test_fewer_clips_on_request(model, prior):
    rows = generation.run(job(model, vectors(9), prior=prior, options={"count": 5}, shelf=Lookers()))
    assert row(rows, "prior_recall").count == 5
    # The same five whatever the seed: only what they are compared with is drawn anew.
    chosen = [generation.Generation(job(model, vectors(9), prior=prior, options={"count": 5}, seed=i)) for i in (0, 1)]
    np.testing.assert_array_equal(chosen[0].test.x, chosen[1].test.x)
    assert not np.array_equal(chosen[0].fit.x, chosen[1].fit.x)
    with pytest.raises(InputError, match="count: got 0"):
        generation.run(job(model, vectors(9), prior=prior, options={"count": 0}))


def test_video_is_shown_in_range():
    seen = []

    class Watching(Averages):
        def describe(self, clips):
            seen.append((clips.min(), clips.max(), clips.shape))
            return super().describe(clips)

    f = Factors(torch.zeros(2, 4), torch.zeros(2, 8, 2))

    class Loud(Split):
        recipe = lookers.VIDEO

        def encode(self, x, lengths=None):
            return f[: len(x)]

        def sample(self, given, start, steps, seed, *, progress):
            return 5 * start

        def _like(self):
            return torch.empty(0)

    sizes = Sizes(static=4, dynamic=2, frames=8)
    generation.run(job(Loud(), video(2), prior=Dealt(f, sizes), shelf=Lookers(clip_features=Watching())))
    assert len(seen) == 4
    assert all(low >= -1 and high <= 1 and shape == (2, 8, 3, 16, 16) for low, high, shape in seen)


def test_longer_clips_are_cut_and_every_row_says_so(model, prior):
    whole = vectors(12)
    lengths = np.array([FRAMES + 3, FRAMES, FRAMES - 1] * 4)
    test = Clips(np.pad(whole.x, ((0, 0), (0, 3), (0, 0))), lengths=lengths, name="varied")
    rows = generation.run(job(model, test, vectors(8, seed=1), prior=prior))
    said = f"clips cut to the prior's {FRAMES} frames (8 of 12 are at least as long)"
    assert {said in one.notes for one in rows} == {True}
    assert row(rows, "fvd").count == 8
    assert not any("cut" in note for one in generation.run(job(model, whole, prior=prior)) for note in one.notes)


def test_a_distance_of_fewer_clips_than_features_says_so(model, prior):
    class Wide(Averages):
        def describe(self, clips):
            return np.tile(super().describe(clips), 30)

    for judge, few in ((Averages(), False), (Wide(), True)):
        rows = generation.run(job(model, vectors(40), prior=prior, shelf=Lookers(clip_features=judge)))
        assert any("of 40 clips described by" in note for note in row(rows, "fvd").notes) == few
        assert (
            any("of 20 clips described by" in note for note in row(rows, "fvd", "halves", baseline=True).notes) == few
        )
        assert not row(rows, "precision").notes


def test_a_prior_of_other_factors(model, randomise):
    wide = randomise(LatentPrior(Prior(layers=2, width=1), Sizes(static=5, dynamic=2, frames=FRAMES)))
    with pytest.raises(InputError, match="prior: got factors"):
        generation.run(job(model, vectors(), prior=wide))
