"""What tells the systems apart, and what each term of their losses does alone."""

import pytest
import torch
from divid_models import KINDS as DIVID
from torch import nn

import diffsda
from diffsda.baselines.dbse.authors import build
from diffsda.baselines.dbse.settings import AudioSettings, SeriesSettings, VideoSettings
from diffsda.baselines.divid.model import DiViD
from diffsda.baselines.lstm_prior import LSTMPrior
from diffsda.baselines.spyl.model import SPYL
from diffsda.baselines.spyl.settings import SPYLSettings

CODES = {"static": 5, "dynamic": 4, "hidden": 6}
VIDEO = VideoSettings(size=16, width=4, features=8, **CODES)
AUDIO = AudioSettings(channels=5, **CODES)
SERIES = SeriesSettings(channels=5, window=2, **CODES)
SPYL_VECTOR = SPYLSettings(kind="vector", channels=5, width=4, features=8, **CODES)
SPYL_VIDEO = SPYLSettings(size=16, width=4, features=8, **CODES)
MAKE = {
    "dbse-video": (lambda: build(VIDEO), (3, 16, 16)),
    "dbse-audio": (lambda: build(AUDIO), (5,)),
    "dbse-series": (lambda: build(SERIES), (5,)),
    "divid": (lambda: DiViD(DIVID["vector"]), (5,)),
    "divid of pictures": (lambda: DiViD(DIVID["video"]), (3, 8, 8)),
    "spyl": (lambda: SPYL(SPYL_VECTOR), (5,)),
    "spyl of pictures": (lambda: SPYL(SPYL_VIDEO), (3, 16, 16)),
    "diffsda": (
        lambda: diffsda.DiffSDA(
            diffsda.preset("etth1").replace(
                clips={"channels": 5},
                backbone={"width": 8},
                encoder={"width": 8, "hidden": 6, "static": 5, "dynamic": 4},
            )
        ),
        (5,),
    ),
}
# Where each system has its features of frames, all before anything is taken off them.
FEATURES = {
    "dbse-video": lambda model: model.frame,
    "dbse-audio": lambda model: model.frame_out,
    "dbse-series": lambda model: model.steps,
    "divid": lambda model: model.encoder.frame,
    "divid of pictures": lambda model: model.encoder.frame,
    "spyl": lambda model: model.frame,
    "spyl of pictures": lambda model: model.frame,
}
SUBTRACTS = {"dbse-video", "dbse-audio", "dbse-series", "divid", "divid of pictures"}


def made(name, randomise):
    make, frame = MAKE[name]
    return randomise(make()).double(), torch.rand(3, 6, *frame, dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("name", MAKE)
def test_who_reads_the_static_code_off_the_first_element_alone(name, randomise):
    model, x = made(name, randomise)
    first = 2 if name == "dbse-series" else 1
    later, earlier = x.clone(), x.clone()
    later[:, first:] = later[:, first:].flip(0)
    earlier[:, :first] = earlier[:, :first].flip(0)
    code = model.encode(x).static
    assert torch.equal(model.encode(later).static, code) is (name in SUBTRACTS)
    # The middle clip of three stays where it is.
    assert not torch.allclose(model.encode(earlier).static[0], code[0], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", FEATURES)
def test_whose_dynamics_hold_what_all_frames_share(name, randomise):
    model, x = made(name, randomise)
    before = model.encode(x)
    FEATURES[name](model).register_forward_hook(lambda _m, _i, out: out + 0.3)
    after = model.encode(x)
    assert torch.allclose(before.dynamic, after.dynamic, atol=1e-9) is (name in SUBTRACTS)
    assert not torch.allclose(before.static, after.static, atol=1e-3)


DBSE_TERMS = {
    "sequence": "weight_sequence",
    "single": "weight_single",
    "static_divergence": "weight_static",
    "dynamic_divergence": "weight_dynamic",
}
SPYL_TERMS = {
    name: f"weight_{name}"
    for name in ("reconstruction", "static", "dynamic", "contrast_static", "contrast_dynamic", "information")
}
ALONE = [
    *(("dbse-video", build, VIDEO, DBSE_TERMS, term) for term in DBSE_TERMS),
    *(("dbse-audio", build, AUDIO, DBSE_TERMS, term) for term in DBSE_TERMS),
    *(("dbse-series", build, SERIES, DBSE_TERMS, term) for term in DBSE_TERMS),
    *(("spyl", SPYL, SPYL_VECTOR, SPYL_TERMS, term) for term in SPYL_TERMS),
]


@pytest.mark.parametrize(
    ("name", "make", "settings", "terms", "term"), ALONE, ids=[f"{case[0]} {case[-1]}" for case in ALONE]
)
def test_a_term_configured_alone_is_the_loss_and_trains(name, make, settings, terms, term, randomise):
    alone = settings.replace(**{weight: 2.5 if t == term else 0.0 for t, weight in terms.items()})
    model = randomise(make(alone)).train()
    if name == "spyl":
        # Wide posteriors say nothing of each other: their mutual information is at its bound.
        for head in (model.sequence.static_head, model.sequence.dynamic_head):
            nn.init.constant_(head.logvar.bias, -6.0)
    x = torch.rand(4, 6, *MAKE[name][1])
    given = model.loss(x, generator=torch.Generator().manual_seed(0))
    assert set(given.terms) == set(terms)
    assert float(given.total.detach()) == pytest.approx(2.5 * float(given.terms[term].detach()))
    given.total.backward()
    assert sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None) > 1e-6
    none = make(settings.replace(**dict.fromkeys(terms.values(), 0.0)))
    assert float(none.loss(x).total.detach()) == 0.0


@pytest.mark.parametrize("kind", ["vector", "video"])
def test_the_weight_of_orthogonality_is_that_of_the_loss(kind, randomise):
    x = torch.rand(3, 4, *MAKE["divid" if kind == "vector" else "divid of pictures"][1])
    totals = {}
    for weight in (0.0, 1.0, 3.0):
        model = randomise(DiViD(DIVID[kind].replace(weight_orthogonality=weight)))
        given = model.loss(x, generator=torch.Generator().manual_seed(0))
        totals[weight] = given
        given.total.backward()
        assert model.encoder.to_dynamic.weight.grad.abs().sum() > 0
    noise, both, thrice = (totals[w].to_dict() for w in (0.0, 1.0, 3.0))
    assert set(noise) == {"noise", "loss"}
    assert both["orthogonality"] > 0
    assert both["loss"] == pytest.approx(noise["loss"] + both["orthogonality"], rel=1e-5)
    assert thrice["loss"] == pytest.approx(noise["loss"] + 3 * both["orthogonality"], rel=1e-5)


@torch.no_grad()
def test_a_free_run_of_the_prior_feeds_on_its_own_samples():
    prior, eps = LSTMPrior(3, 8).double(), torch.randn(2, 6, 3, dtype=torch.float64)
    for value in prior.parameters():
        value.copy_(torch.randn_like(value))
    run = prior.roll_out(2, 6, eps)
    assert torch.allclose(prior.teacher_forced(run.codes).mean, run.steps.mean)
    assert not torch.allclose(prior.teacher_forced(run.steps.mean).mean[:, 1:], run.steps.mean[:, 1:], atol=1e-3)
    quiet = prior.roll_out(2, 6)
    assert torch.allclose(prior.teacher_forced(quiet.steps.mean).mean, quiet.steps.mean)
    longer = prior.roll_out(2, 9, torch.cat([eps, eps[:, :3]], 1))
    assert torch.allclose(longer.codes[:, :6], run.codes)
