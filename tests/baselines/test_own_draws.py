"""What systems draw outside training: new factors of two streams, and a slot of noise that is the same each time."""

import numpy as np
import pytest
import torch
from system_models import RECIPES, clips

from diffsda.baselines.draws import alike
from diffsda.edm.noise import SampleNoise
from diffsda.systems import build
from diffsda.tasks.own_prior import OwnPrior
from diffsda.tasks.swap import swap

SAMPLES = 300
OWN = ("dbse-audio", "dbse-series", "spyl-vector")
SLOTS = [
    (name, change)
    for name in ("dbse-audio", "dbse-series", "dbse-video")
    for change in ({"as_published": True}, {"slot": "noise"})
]


def correlation(a, b):
    """Return the largest correlation of a column of one with a column of the other, and of the other shuffled."""
    a, b = (((v - v.mean(0)) / v.std(0)).double() for v in (a, b))
    mixed = b[torch.randperm(len(b), generator=torch.Generator().manual_seed(0))]
    return tuple(float((a.T @ v).abs().max()) / len(a) for v in (b, mixed))


def made_of(name, change):
    recipe = RECIPES[name].replace(settings=change)
    torch.manual_seed(0)
    return build(recipe).eval()


@pytest.mark.parametrize("name", OWN)
def test_new_static_and_dynamic_codes_have_nothing_to_do_with_each_other(name):
    # As wide as torch fills by the block: narrower ones it fills in another way, which hides numbers used twice.
    f = OwnPrior(made_of(name, {"static": 16}), 32).sample(SAMPLES, 0)
    d = f.dynamic.flatten(1)
    d = d[:, d.std(0) > 1e-6]
    given, shuffled = correlation(f.static, d)
    # The largest of some thousand correlations that are 0, each with a deviation of 300 ** -0.5 = 0.06.
    assert given < 0.3
    assert shuffled < 0.3


def test_a_static_code_is_not_the_noise_that_drives_the_decoder_of_its_clip():
    made = made_of("dbse-series", {"static": 16})
    static = OwnPrior(made, 32).sample(SAMPLES, 0).static
    driving = SampleNoise(0, (SAMPLES, 16), like=static)()
    assert correlation(static, driving)[0] < 0.3


@torch.no_grad()
@pytest.mark.parametrize(("name", "change"), SLOTS, ids=[f"{n} {next(iter(c))}" for n, c in SLOTS])
def test_a_slot_of_noise_is_the_same_each_time_and_in_any_batch(name, change):
    made = made_of(name, change)
    held = clips(made.recipe, 6, 4)
    whole = made.encode(held.x)
    assert torch.equal(made.encode(held.x).dynamic, whole.dynamic)
    torch.rand(5)  # Whatever else draws in between.
    for i in (0, 4):
        alone = made.encode(held.x[i : i + 1])
        torch.testing.assert_close(alone.dynamic[0], whole.dynamic[i], atol=1e-6, rtol=1e-5)
    donors = held.select(np.arange(6)[::-1])
    swaps = [swap(made, held, donors, seed=3, batch=batch) for batch in (6, 2)]
    np.testing.assert_allclose(*swaps, atol=1e-6)
    zeros = made_of(name, change | {"slot": "zeros"})
    zeros.load_state_dict(made.state_dict())
    assert not torch.equal(zeros.encode(held.x).dynamic, whole.dynamic), "it is noise, not zeros"


def test_alike_rows_are_normal_and_follow_the_seed():
    like = torch.zeros(1, dtype=torch.float64)
    given = alike(3)("slot", (4, 500), like)
    assert given.dtype == torch.float64
    assert all(torch.equal(row, given[0]) for row in given)
    assert float(given[0].std()) == pytest.approx(1, abs=0.1)
    assert not torch.equal(alike(4)("slot", (4, 500), like), given)
