"""What a prior's settings refuse, and that they survive being written."""

import json
import subprocess
import sys

import pytest

from diffsda.errors import InputError
from diffsda.prior.recipe import Fit, Prior


def test_settings_survive_json():
    recipe = Prior(layers=4, betas=(0.008, 0.008), loss="l1", split=True, eta=0.5)
    again = Prior.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.digest == recipe.digest != Prior().digest
    assert Prior.from_dict({}) == Prior()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": 1}, "prior.layers: got 1"),
        ({"layers": True}, "prior.layers: got True"),
        ({"width": 0}, "prior.width"),
        ({"dropout": 1.0}, "prior.dropout"),
        ({"dropout": float("nan")}, "prior.dropout"),
        ({"steps": 1}, "prior.steps"),
        ({"betas": (0.0, 0.1)}, "prior.betas: got 0.0"),
        ({"betas": (0.1,)}, "expected two numbers"),
        ({"betas": (0.1, 1.0)}, "prior.betas: got 1.0"),
        ({"loss": "l2"}, "expected one of mse, l1"),
        ({"rule": "euler"}, "expected one of ddim, ddpm, published"),
        ({"sampling_steps": 0}, "prior.sampling_steps"),
        ({"eta": 2}, "prior.eta"),
        ({"normalise": 1}, "expected true or false"),
    ],
)
def test_settings_no_prior_can_have(settings, words):
    with pytest.raises(InputError, match=words):
        Prior(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": 0}, "fit.lr"),
        ({"schedule": "step"}, "fit.schedule"),
        ({"warmup": -1}, "fit.warmup"),
        ({"batch": 0}, "fit.batch"),
        ({"steps": 0}, "fit.steps"),
        ({"ema": 1.0}, "fit.ema"),
        ({"clip": 0}, "fit.clip"),
        ({"seed": -1}, "fit.seed"),
    ],
)
def test_settings_no_training_can_have(settings, words):
    with pytest.raises(InputError, match=words):
        Fit(**settings)


def test_unknown_settings_are_named():
    with pytest.raises(InputError, match=r"'layer'.*did you mean 'layers'"):
        Prior.from_dict({"layer": 3})
    with pytest.raises(InputError, match="got list"):
        Prior.from_dict([])


def test_settings_are_free_of_torch():
    code = "import sys, diffsda.prior.recipe; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
