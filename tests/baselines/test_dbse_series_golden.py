"""DBSE for series computes what the authors' code computed, masked and not, in all four weightings."""

import pytest
import torch
from recordings import (
    adam_steps,
    arrays,
    assert_close,
    assert_gradients,
    assert_terms,
    draws,
    flat,
    loaded,
    turned,
)

from diffsda.baselines.dbse.series import kept_steps
from diffsda.baselines.dbse.settings import AIR_QUALITY, ETTH1, ICU, MORTALITY

NAME = "dbse_ts"
GOLD = arrays(NAME)
RUNS = {"mortality": MORTALITY, "icu": ICU, "month": AIR_QUALITY, "etth": ETTH1}
masks = pytest.mark.parametrize("masked", [True, False], ids=["masked", "nomask"])


def tasked(run):
    """Load the weights with the loss weights of a run, but the recorded window and repetitions."""
    return loaded(NAME, settings=RUNS[run].replace(channels=10, window=4, single=0, draws=2))


def mask_for(masked):
    return GOLD["mask"] if masked else None


def replay(scenario):
    windows = {"dec": turned, "dec_static": lambda eps: eps[:, None]}
    return draws(NAME, scenario, s=flat, **windows)


@pytest.fixture(scope="module")
def model():
    return tasked("icu")


def assert_gaussian(given, wanted):
    assert_close(given.mean, GOLD[f"{wanted}_mean"])
    assert_close(given.logvar, GOLD[f"{wanted}_logvar"])


@masks
@torch.no_grad()
def test_codes(model, masked):
    x, mask, prefix = GOLD["x"], mask_for(masked), "enc_masked" if masked else "enc_nomask"
    eps = draws(NAME, "enc", s=flat)
    assert_close(model.steps(x), GOLD["enc_fc"])
    q = model.posterior(x, mask=mask, draws=eps)
    codes = q.sample(eps)
    assert_gaussian(q.static, f"{prefix}_s")
    assert_gaussian(q.dynamic, f"{prefix}_d")
    assert_close(codes.static, GOLD[f"{prefix}_s_sample"])
    assert_close(codes.dynamic, GOLD[f"{prefix}_d_sample"])
    assert_gaussian(model.posterior(x, mask=mask).dynamic, f"{prefix}_slot0_d")


def test_steps_that_are_kept():
    assert torch.equal(kept_steps(GOLD["mask"]), GOLD["step_keep"])
    missing = torch.arange(7)[:, None] > torch.arange(6)[None]  # row i lacks i of six values
    assert kept_steps(missing).tolist() == [True] * 4 + [False] * 3


@torch.no_grad()
def test_decoder(model):
    mean, scale = model.distribution(GOLD["dec_in"], turned(GOLD["dec_eps_win"]))
    assert_close(mean, GOLD["dec_loc"])
    assert_close(scale, GOLD["dec_scale"])
    mean, scale = model.distribution(GOLD["dec_in"][:, :1], turned(GOLD["dec_static_eps_win"]))
    assert_close(mean, GOLD["dec_static_loc"])
    assert_close(scale, GOLD["dec_static_scale"])


@torch.no_grad()
def test_prior(model):
    q = model.prior.teacher_forced(GOLD["prior_tf_codes"])
    assert_gaussian(q, "prior_tf")
    assert_close(q.sample(turned(GOLD["prior_tf_eps_t"])), GOLD["prior_tf_sample"])


@masks
@pytest.mark.parametrize("run", RUNS)
def test_loss(run, masked):
    scenario = f"{'masked' if masked else 'nomask'}_{run}"
    model = tasked(run)
    terms = model.loss(GOLD["x"], mask=mask_for(masked), draws=replay("loss"))
    assert_terms(terms, GOLD[f"loss_{scenario}_terms_f64"])
    if run in ("icu", "etth"):
        terms.total.backward()
        assert_gradients(model, NAME, f"{run}_{'masked' if masked else 'nomask'}")
        norm = torch.stack([p.grad.double().norm() for p in model.parameters() if p.grad is not None]).norm()
        assert float(norm) == pytest.approx(float(GOLD[f"loss_{scenario}_gradnorm_f64"]), rel=1e-4)


@torch.no_grad()
def test_what_the_loss_is_made_of(model):
    x, mask, eps = GOLD["x"].repeat(2, 1, 1), GOLD["mask"].repeat(2, 1, 1), replay("loss")
    q = model.posterior(x, mask=mask, draws=eps)
    f = q.sample(eps)
    codes = f.per_frame()
    assert_close(q.static.mean, GOLD["fwd_s_mean"])
    assert_close(q.dynamic.mean, GOLD["fwd_d_mean"])
    assert_gaussian(model.prior.teacher_forced(f.dynamic), "fwd_prior")
    for part, shown, noise in (("seq", codes, "dec"), ("frame", codes[:, :1], "dec_static")):
        shape = (6, 4, 4, 32) if noise == "dec" else (6, 1, 1, 32)
        mean, scale = model.distribution(shown, eps(noise, shape, codes))
        drawn = "seq_sample" if part == "seq" else "frame_sample"
        assert_close(mean, GOLD[f"fwd_{part}_loc"])
        assert_close(scale, GOLD[f"fwd_{part}_scale"])
        assert_close(mean + scale * GOLD[f"loss_eps_{drawn}"], GOLD[f"fwd_{part}_draw"])


def test_training_and_evaluation_compute_the_same():
    losses = [
        tasked("icu").train(mode).loss(GOLD["x"], mask=GOLD["mask"], draws=replay("loss")).total
        for mode in (True, False)
    ]
    assert torch.equal(*losses)


def test_three_steps_of_adam():
    model = tasked("icu").train()
    adam_steps(
        *(model, NAME, "steps_icu_terms", ICU.lr, 1e-4),
        lambda step: model.loss(GOLD["x"], mask=GOLD["mask"], draws=replay(step)),
    )
