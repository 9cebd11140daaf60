"""Priors, walks, longer clips, clips of other sets and jobs with every system."""

import json
import shutil

import numpy as np
import pytest
import torch
from shelf import SHAPES
from system_models import RECIPES, filled, opened

from diffsda.checkpoint import load
from diffsda.data.arrays import read, write
from diffsda.tasks.lengthen import lengthen

QUICKER = [name for name in RECIPES if name != "divid-video"]
OWN = [name for name in RECIPES if not name.startswith("divid")]
QUICK = ("--prior.layers", 3, "--prior.width", 2, "--prior.sampling-steps", 4, "--fit.steps", 2, "--fit.batch", 4)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a run folder of each system, with clips of its kind beside it, whole and of varied lengths."""
    return filled(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("name", QUICKER)
def test_a_fitted_prior_and_all_it_is_for(name, runs, room, cli, tmp_path):
    folder = shutil.copytree(runs / name, tmp_path / name)
    data = runs / f"{name}-clips.npz"
    said = cli("train-prior", folder, "--data", data, "--device", "cpu", *QUICK, "--json")
    assert said.status == 0, said.err
    about = json.loads(said.out)
    recipe = RECIPES[name]
    assert (about["static"], about["dynamic"], about["frames"]) == (recipe.static, recipe.dynamic, 6)
    assert cli("generate", folder, "--count", 2, "--out", room / "g.npz").status == 0
    assert read(room / "g.npz").x.shape[:2] == (2, 6)
    assert cli("generate", folder, "--swap", "static", "--data", data, "--out", room / "u.npz").status == 0
    words = ("--samples", 30, "--components", 2, "--count", 1, "--alphas", -1, 0, 1, "--factor", "dynamic")
    assert cli("traverse", folder, "--out", room / "t.npz", *words, "--figure", room / "t.png").status == 0
    assert read(room / "t.npz").x.shape[:2] == (6, 6)
    assert cli("lengthen", folder, data, "--frames", 9, "--how", "prior", "--out", room / "l.npz").status == 0
    other = next(n for n in RECIPES if n != name and RECIPES[n].video == recipe.video)
    shutil.copy(folder / "prior.safetensors", tmp_path / "taken.safetensors")
    said = cli("generate", runs / other, "--prior", tmp_path / "taken.safetensors", "--out", room / "n.npz")
    assert said.status == 2, "factors of one system mean nothing to another"
    assert name in said.err


@pytest.mark.parametrize("name", QUICKER)
def test_walks(name, runs, room, cli):
    folder, data, varied = runs / name, runs / f"{name}-clips.npz", runs / f"{name}-varied.npz"
    words = ("--factor", "dynamic", "--components", 2, "--count", 1, "--alphas", -1, 0, 1)
    assert cli("traverse", folder, "--data", data, "--out", room / "t.npz", *words).status == 0
    assert cli("reconstruct", folder, data, "--out", room / "r.npz").status == 0
    walked, back = np.load(room / "t.npz"), read(room / "r.npz").x
    for i in np.flatnonzero(walked["alpha"] == 0):
        np.testing.assert_allclose(walked["x"][i], back[0], rtol=1e-3, atol=1e-4)
    assert cli("interpolate", folder, data, data, "--steps-between", 2, "--out", room / "w.npz").status == 0
    walk = read(room / "w.npz").x
    assert walk.shape[0] == 4
    ends = [0] if name == "dbse-series" else [0, 1]  # Whose decoder is driven by the seed, one a walk.
    np.testing.assert_allclose(walk[[0, 3]][ends], back[ends], rtol=1e-3, atol=1e-4)
    assert not np.allclose(walk[1], walk[0])
    for how in ("hold", "pingpong", "resample"):
        said = cli("lengthen", folder, varied, "--frames", 10, "--how", how, "--out", room / f"{how}.npz")
        assert said.status == 0, said.err
        assert read(room / f"{how}.npz").x.shape[:2] == (4, 10)


@pytest.mark.parametrize("name", ["dbse-audio", "dbse-series", "dbse-video", "spyl-vector"])
def test_longer_clips_do_not_depend_on_how_many_frames_are_decoded_at_once(name, runs):
    made, held = opened(runs, name)
    whole, parts = (lengthen(made, held, 14, how="pingpong", tile=tile) for tile in (512, 3))
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        f = made.encode(held.x)
        apart = made.sample(f[:2])[:, 2:4].numpy()
        alone = made.sample(type(f)(f.static[:2], f.dynamic[:2, 2:4])).numpy()
    assert np.allclose(apart, alone, atol=1e-6) == made.frames_apart, "it says whether frames stand for themselves"


@pytest.mark.parametrize("name", QUICKER)
def test_zero_shot(name, runs, room, cli, tmp_path):
    recipe, data = RECIPES[name], runs / f"{name}-clips.npz"
    frame = (3, 24, 20) if recipe.video else (3,)
    x = np.tanh(np.random.default_rng(1).normal(size=(4, 6, *frame))).astype(np.float32)
    write(tmp_path / "other.npz", {"x": x})
    words = ("--static", tmp_path / "other.npz", "--dynamic", data, "--both", "--out", room / "z.npz")
    said = cli("zero-shot", runs / name, *words)
    assert said.status == 0, said.err
    held = np.load(room / "z.npz")
    assert held["x"].shape == x.shape
    assert held["x_other"].shape == read(data).x.shape
    said = cli("zero-shot", runs / name, "--reconstruct", tmp_path / "other.npz", "--out", room / "r.npz", "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out)["mse"] > 0


@pytest.mark.parametrize("name", QUICKER)
def test_jobs(name, runs, room, cli, tmp_path):
    job = tmp_path / "job"
    job.mkdir()
    x = read(runs / f"{name}-clips.npz").x
    for i in range(2):
        write(job / f"{i}.npz", {"x": x[i]})
    words = ("--model", runs / name, "--tile", 2, "--json")
    for task in ("encode", "reconstruct"):
        said = cli("infer", job, *words, "--task", task, "--out", room / task)
        assert said.status == 0, said.err
    held = np.load(next((room / "reconstruct" / "clips").rglob("0*.npz")))["x"]
    assert cli("reconstruct", runs / name, runs / f"{name}-clips.npz", "--out", room / "r.npz").status == 0
    if name != "dbse-series":  # Which draws what drives its decoder from the seed, here one of the clip's key.
        np.testing.assert_allclose(held.reshape(x[0].shape), read(room / "r.npz").x[0], rtol=1e-3, atol=1e-4)
    lines = [{"key": "a", "static": str(job / "0.npz"), "dynamic": str(job / "1.npz")}]
    (tmp_path / "swaps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = cli("infer", tmp_path / "swaps.jsonl", *words, "--task", "swap", "--out", room / "swap")
    assert said.status == 0, said.err
    about = json.loads((room / "swap" / "infer.json").read_text())
    assert about["noise"] == load(runs / name).policy
    own = RECIPES[name].video and name in OWN
    if own:
        assert cli("infer", 3, *words, "--task", "generate", "--out", room / "generate").status == 0
        walk = ("--task", "traverse", "--samples", 20, "--alphas", -1, 1)
        assert cli("infer", job, *words, *walk, "--out", room / "traverse").status == 0
    if name.startswith("divid"):
        said = cli("infer", 3, *words, "--task", "generate", "--out", room / "generate")
        assert said.status == 2
        assert "divid has no prior of its own" in said.err


def test_shapes_of_the_shelf_are_refused(runs, shelf, room, cli, refused):
    assert SHAPES["video"][2:] != (3, 16, 16)
    said = cli("encode", runs / "dbse-video", shelf / "video.npz", "--out", room / "z.npz")
    refused(said, "encode", 2, "expected (N, V, 3, 16, 16)", "of dbse-video")
    said = cli("encode", runs / "dbse-video", shelf / "vector.npz", "--out", room / "z.npz")
    refused(said, "encode", 2, "of dbse-video")
