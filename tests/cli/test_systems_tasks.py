"""Every verb that runs a model, with every system: what comes out, what it agrees with, what is refused."""

import json

import numpy as np
import pytest
import torch
from shelf import names
from system_models import RECIPES, filled, model, opened

from diffsda.checkpoint import load
from diffsda.data.arrays import read
from diffsda.firststage.clips import raw
from diffsda.report.canvas import provenance
from diffsda.tasks.generate import generate
from diffsda.tasks.own_prior import OwnPrior

QUICKER = [name for name in RECIPES if name != "divid-video"]
OWN = [name for name in RECIPES if not name.startswith("divid")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a run folder of each system, with clips of its kind beside it, whole and of varied lengths."""
    return filled(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("name", RECIPES)
def test_encode_reconstruct_and_swap(name, runs, room, cli):
    folder, data, varied = runs / name, runs / f"{name}-clips.npz", runs / f"{name}-varied.npz"
    made, held = opened(runs, name, "varied")
    recipe = RECIPES[name]
    assert cli("encode", folder, varied, "--out", room / "z.npz").status == 0
    z = np.load(room / "z.npz")
    assert (z["static"].shape, z["dynamic"].shape) == ((4, recipe.static), (4, 6, recipe.dynamic))
    said = cli("reconstruct", folder, varied, "--out", room / "r.npz", "--figure", room / "r.png", "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out)["execution"]["route"] == "eager"
    back = read(room / "r.npz")
    assert back.x.shape == held.x.shape
    padded = np.arange(6) >= held.lengths[:, None]
    assert not back.x[padded].any()
    assert back.x[~padded].any()
    with torch.no_grad():
        z = made.encode(held.x, held.lengths)
        again = made.decode(z, made.invert(held.x, z, lengths=held.lengths), lengths=held.lengths).numpy()
    np.testing.assert_allclose(back.x, raw(again, made.whitening, held.lengths), rtol=1e-4, atol=1e-5)
    assert back.x.min() >= -1.001 or not recipe.video or name.startswith("divid"), "pixels go from -1 to 1"
    said = cli("swap", folder, data, varied, "--out", room / "s.npz", "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out)["noise"] == made.policy
    assert read(room / "s.npz").lengths.tolist() == held.lengths.tolist()


@pytest.mark.parametrize("name", QUICKER)
def test_swaps_by_every_noise(name, runs, room, cli):
    folder, data = runs / name, runs / f"{name}-clips.npz"
    words = ("swap", folder, data, data, "--seed", 5)
    made = {}
    for noise in ("auto", "dynamic", "static", "fresh", "shared"):
        assert cli(*words, "--grid", "--noise", noise, "--out", room / f"{noise}.npz").status == 0
        made[noise] = read(room / f"{noise}.npz").x
        assert made[noise].shape[0] == 16
        assert np.isfinite(made[noise]).all()
    assert np.array_equal(made["auto"], made["shared" if name.startswith("divid") else "fresh"])
    if name.startswith("divid"):
        kinds = [made[noise] for noise in ("dynamic", "static", "fresh", "shared")]
        assert all(not np.array_equal(a, b) for i, a in enumerate(kinds) for b in kinds[:i])
    else:
        assert all(np.array_equal(x, made["auto"]) for x in made.values()), "nothing is drawn"
    # A clip's own swap, and both donors count.
    own = made["auto"].reshape(4, 4, *made["auto"].shape[1:])
    assert not np.allclose(own[0, 1], own[1, 1])
    assert not np.allclose(own[0, 0], own[0, 1])
    said = cli(*words, "--out", room / "s.npz", "--figure", room / "s.png")
    assert said.status == 0
    assert provenance(room / "s.png")["noise"] == ("shared" if name.startswith("divid") else "fresh")


def test_ours_still_swaps_from_the_dynamics_donor(shelf, room, cli):
    for noise in ("auto", "dynamic"):
        words = ("swap", shelf / "vector.safetensors", shelf / "vector.npz", shelf / "vector.npz", "--noise", noise)
        assert cli(*words, "--out", room / f"{noise}.npz").status == 0
    assert read(room / "auto.npz").x.tobytes() == read(room / "dynamic.npz").x.tobytes()


def test_divid_that_does_not_share_noise_swaps_from_fresh():
    recipe = RECIPES["divid-vector"]
    made = type(model("divid-vector"))(recipe.replace(settings={"shared_noise": False}))
    assert (made.policy, made.shared_noise) == ("fresh", False)
    assert (model("divid-vector").policy, model("divid-vector").shared_noise) == ("shared", True)


@pytest.mark.parametrize("name", OWN)
def test_new_clips_from_a_systems_own_prior(name, runs, room, cli):
    folder, data = runs / name, runs / f"{name}-clips.npz"
    words = ("generate", folder, "--count", 3, "--seed", 4)
    said = cli(*words, "--frames", 5, "--out", room / "g.npz", "--figure", room / "g.png", "--json")
    assert said.status == 0, said.err
    about = json.loads(said.out)
    assert (about["prior"], about["clips"]) == ("own", 3)
    assert provenance(room / "g.png")["prior"] == "own"
    held, made = np.load(room / "g.npz"), load(folder)
    assert held["x"].shape[:2] == (3, 5)
    f = OwnPrior(made, 5).sample(3, 4)
    np.testing.assert_array_equal(held["static"], f.static)
    np.testing.assert_allclose(held["x"], raw(generate(made, f, seed=4), made.whitening, None), rtol=1e-4, atol=1e-5)
    assert np.array_equal(OwnPrior(made, 5).sample(1, 6).dynamic[0], f.dynamic[2]), "clip i draws from seed + i"
    # One factor of real clips, and the other from the prior.
    for factor in ("static", "dynamic"):
        out = room / f"{factor}.npz"
        assert cli("generate", folder, "--swap", factor, "--data", data, "--out", out).status == 0
        assert read(out).x.shape == read(data).x.shape
    out = ("--out", room / "t.npz", "--samples", 20, "--components", 2, "--count", 1, "--alphas", -1, 0, 1)
    if RECIPES[name].video:  # Whose recipe says how many frames.
        assert cli("traverse", folder, *out).status == 0
        assert read(room / "t.npz").x.shape[0] == 6
        assert cli("lengthen", folder, data, "--frames", 9, "--how", "prior", "--out", room / "l.npz").status == 0


def test_what_an_own_prior_has_not(runs, room, cli, refused):
    out = ("--out", room / "g.npz")
    said = cli("generate", runs / "spyl-vector", *out)
    refused(said, "generate", 2, "--frames: got None", "spyl's own prior")
    said = cli("generate", runs / "spyl-video", *out, "--prior-steps", 3)
    refused(said, "generate", 2, "--prior-steps: got 3 for spyl's own prior")
    for name in ("divid-vector", "divid-video"):
        for words in (("generate",), ("lengthen", runs / f"{name}-clips.npz", "--frames", 9, "--how", "prior")):
            verb, *rest = words
            said = cli(verb, runs / name, *rest, *out)
            refused(
                said, verb, 2, "divid has no prior of its own", "its paper gives it no prior", "diffsda train-prior"
            )
    said = cli("generate", runs / "divid-vector", *out, "--prior", "own")
    refused(said, "generate", 2, "divid has no prior of its own")
    assert names(room) == []
