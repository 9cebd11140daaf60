"""The verbs run a model as they are told, and say how it ran."""

import json

import numpy as np
import pytest

from diffsda.data.arrays import read
from diffsda.report.canvas import provenance

WAYS = {
    "plain": [],
    "tiles": ["--tile", 3],
    "channels_last": ["--layout", "channels_last"],
    "bf16": ["--precision", "bf16"],
}


@pytest.fixture
def call(cli, shelf, room):
    """Call a verb on a model and its clips, on the CPU."""

    def run(verb, *options, model="video", out="out.npz"):
        clips = [shelf / f"{model}.npz"] * (2 if verb == "swap" else 1)
        return cli(verb, shelf / f"{model}.safetensors", *clips, "--out", room / out, "--device", "cpu", *options)

    return run


def distance(a, b):
    """Return the relative root mean square of a difference."""
    return float(np.sqrt(((a - b) ** 2).mean() / (b**2).mean()))


@pytest.mark.parametrize("verb", ["reconstruct", "swap"])
def test_what_is_asked_for_runs_and_is_reported(verb, call, room):
    made = {}
    for name, options in WAYS.items():
        said = call(verb, "--json", *options, out=f"{name}.npz")
        assert said.status == 0, said
        about = json.loads(said.out)
        assert (about["out"], about["clips"]) == (str(room / f"{name}.npz"), 3)
        made[name] = (read(room / f"{name}.npz").x, about["execution"])
    ran = {name: how for name, (_, how) in made.items()}
    plain = {"device": "cpu", "precision": "float32", "layout": "contiguous", "route": "eager", "tile": 16, "graphs": 0}
    assert ran["plain"] == plain
    assert ran["tiles"] == plain | {"tile": 3}
    assert ran["channels_last"] == plain | {"layout": "channels_last"}
    assert ran["bf16"] == plain | {"precision": "bf16"}
    x = {name: held for name, (held, _) in made.items()}
    # Tiles and layouts change the order of sums only; bfloat16 keeps 8 bits, and it must have been used.
    assert distance(x["tiles"], x["plain"]) < 1e-5
    assert distance(x["channels_last"], x["plain"]) < 1e-5
    assert 1e-4 < distance(x["bf16"], x["plain"]) < 0.1


def test_encoding_takes_the_options_too(call, room):
    held = {}
    for name, options in WAYS.items():
        assert call("encode", *options, out=f"{name}.npz").status == 0
        with np.load(room / f"{name}.npz") as file:
            held[name] = np.concatenate([file["static"].ravel(), file["dynamic"].ravel()])
    assert distance(held["tiles"], held["plain"]) < 1e-5
    assert distance(held["channels_last"], held["plain"]) < 1e-5
    assert 1e-4 < distance(held["bf16"], held["plain"]) < 0.1


@pytest.mark.parametrize("verb", ["reconstruct", "swap"])
def test_figures_hold_how_the_model_was_run(verb, call, room):
    said = call(verb, "--json", "--tile", 5, "--figure", room / "f.png", model="vector")
    assert said.status == 0, said
    # One JSON document on stdout, whatever else there is to say.
    assert json.loads(said.out)["execution"]["tile"] == 5
    assert str(room / "f.png") in said.err
    held = provenance(room / "f.png")
    assert json.loads(held["execution"])["tile"] == 5
    assert held["recipe"]
