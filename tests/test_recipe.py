"""Recipes: digest, plain data and limits."""

import dataclasses
import json

import pytest

from diffsda import Recipe, preset
from diffsda.errors import InputError
from diffsda.presets import PRESETS
from diffsda.recipe import Clips, Encoder, Sampling

PARTS = ("clips", "backbone", "encoder", "noise", "sampling", "optim")
VIDEO = preset("tiny_video")
OTHER = {
    "clips.modality": "audio",
    "clips.frames": 5,
    "clips.latent": True,
    "backbone.kind": "mlp",
    "backbone.multipliers": (1, 1),
    "encoder.multipliers": (1, 1),
    "backbone.attention": (),
    "encoder.attention": (),
    "backbone.width": 64,
    "encoder.width": 64,
    "sampling.S_max": 50.0,
    "clips.window": "anywhere",
    "optim.schedule": "cosine",
    "optim.betas": (0.8, 0.9),
    "optim.ema": 0.99,
    "optim.accumulate": 4,
}
FIELDS = [f"{p}.{f.name}" for p in PARTS for f in dataclasses.fields(getattr(VIDEO, p))]


def changed(path):
    part, name = path.split(".")
    old = getattr(getattr(VIDEO, part), name)
    if path in OTHER:
        new = OTHER[path]
    elif isinstance(old, bool):
        new = not old
    elif isinstance(old, int):
        new = old + 1
    else:
        new = old * 0.5 + 0.01
    assert new != old
    return VIDEO.replace(**{part: {name: new}})


@pytest.mark.parametrize("path", FIELDS)
def test_digest_changes_with_any_value(path):
    other = changed(path)
    assert other.digest != VIDEO.digest
    assert Recipe.from_dict(json.loads(json.dumps(other.to_dict()))) == other


def test_digest_does_not_change_with_the_name():
    assert VIDEO.replace(name="another").digest == VIDEO.digest
    assert len(VIDEO.digest) == 12
    assert int(VIDEO.digest, 16) >= 0
    assert Recipe.from_dict(VIDEO.to_dict()).digest == VIDEO.digest


@pytest.mark.parametrize("name", PRESETS)
def test_plain_data_and_back(name):
    recipe = preset(name)
    text = json.dumps(recipe.to_dict(), allow_nan=False)
    back = Recipe.from_dict(json.loads(text))
    assert back == recipe
    assert back.digest == recipe.digest
    assert back.sampling.S_max == float("inf")


def test_missing_settings_take_their_defaults():
    assert Recipe.from_dict({}) == Recipe()
    assert Recipe.from_dict({"encoder": {"static": 7}}).encoder == Encoder(static=7)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"encodr": {}}, "did you mean 'encoder'"),
        ({"encoder": {"statics": 3}}, r"recipe.encoder: unknown setting 'statics'.*did you mean 'static'"),
        ({"encoder": 3}, "recipe.encoder: got int"),
        ([], "got list"),
        ({"encoder": {"static": "many"}}, "encoder.static: got 'many'"),
    ],
)
def test_plain_data_that_is_no_recipe(plain, message):
    with pytest.raises(InputError, match=message):
        Recipe.from_dict(plain)


LIMITS = [
    ("clips.channels", 0),
    ("backbone.width", 0),
    ("backbone.blocks", 0),
    ("backbone.dropout", -0.1),
    ("backbone.dropout", 1.0),
    ("encoder.dropout", 1.0),
    ("encoder.hidden", 0),
    ("encoder.static", 0),
    ("encoder.dynamic", 0),
    ("encoder.dynamic", True),
    ("encoder.static", 2.5),
    ("noise.P_std", 0.0),
    ("noise.P_mean", float("nan")),
    ("noise.sigma_data", 0.0),
    ("sampling.steps", 1),
    ("sampling.sigma_min", 0.0),
    ("sampling.sigma_min", 80.0),
    ("sampling.rho", 0),
    ("sampling.S_churn", -1.0),
    ("optim.lr", 0.0),
    ("optim.lr", float("nan")),
    ("optim.clip", 0),
    ("optim.batch", 0),
    ("optim.accumulate", 3),
    ("optim.steps", 0),
    ("optim.ema", 1.0),
    ("optim.ema", 0.0),
    ("optim.draws", 0),
    ("optim.seed", -1),
    ("clips.size", None),
    ("clips.size", 0),
    ("backbone.width", 33),
    ("encoder.multipliers", ()),
]


@pytest.mark.parametrize(("path", "value"), LIMITS)
def test_limits(path, value):
    part, name = path.split(".")
    with pytest.raises(InputError, match=part) as caught:
        VIDEO.replace(**{part: {name: value}})
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_vectors_need_no_frame_size():
    assert Recipe(clips=Clips(channels=3)).clips.size is None


def test_replace_takes_tables_or_parts_and_leaves_the_old_alone():
    old = Recipe()
    new = old.replace(sampling={"steps": 5}, encoder=Encoder(static=3), name="mine")
    assert (new.sampling, new.encoder.static, new.name) == (Sampling(steps=5), 3, "mine")
    assert old == Recipe()
    with pytest.raises(dataclasses.FrozenInstanceError):
        old.name = "other"
    with pytest.raises(TypeError):
        Encoder(3)
