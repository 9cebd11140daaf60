"""diffsda report: a page of a run, or one line why not."""

import json
import shutil

import numpy as np
import pytest
import torch
from shelf import VIDEO
from shelf import build as model_of

from diffsda.checkpoint import load, save
from diffsda.cli import main
from diffsda.data.arrays import write
from diffsda.evaluate.record import Result
from diffsda.evaluate.result import Row
from diffsda.firststage.build import build
from diffsda.firststage.files import save_first_stage
from diffsda.firststage.latents import LatentSpace
from diffsda.firststage.recipe import FirstStage
from diffsda.firststage.whiten import Whitening

WORDS = ("--data", "series", "--steps", "2", "--count", "2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a short run of small vectors, with a prior."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    small = ("--backbone.width", "4", "--encoder.width", "4", "--encoder.hidden", "6", "--encoder.static", "5")
    assert main(["train", "tiny_vector", "--data", "series", "--out", str(folder), "--optim.steps", "2", *small]) == 0
    settings = ("--fit.steps", "3", "--prior.layers", "2", "--prior.width", "1", "--log-every", "1")
    assert main(["train-prior", str(folder), "--data", "series", *settings]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """Return a copy that may be spoilt."""
    return shutil.copytree(trained, tmp_path / "short")


def test_writes_one_page_and_says_so(run, cli):
    said = cli("report", run, *WORDS, "--json")
    assert said.status == 0, said
    about = json.loads(said.out)
    page = run / "report.html"
    assert about["out"] == str(page)
    assert about["bytes"] == page.stat().st_size < 8_000_000
    assert (about["step"], about["prior"], about["results"]) == (2, True, 0)
    html = page.read_text(encoding="utf-8")
    for words in ("Generated clips", "samples of the prior", "Loss of the prior", "The truth", "Swaps from fresh"):
        assert words in html, words
    assert "cannot be shown" not in html
    assert "<video" not in html
    assert not [name for name in run.iterdir() if name.name.startswith(".")]


def test_a_page_that_is_there_stays(run, cli, refused):
    (run / "report.html").write_text("mine")
    refused(cli("report", run, *WORDS), "report", 2, "report.html exists already", "--overwrite")
    assert (run / "report.html").read_text() == "mine"
    assert cli("report", run, "--overwrite").status == 0
    assert "No clips were named" in (run / "report.html").read_text()


def test_results_are_shown(run, cli):
    (run / "eval").mkdir()
    row = Row(metric="mse", values=(float("nan"),), unit="", better="lower", reason="no clip is long enough")
    Result(protocol="reconstruction", tables="3", about="a", data="series", rows=[row], seeds=(0,)).write(
        run / "eval" / "r.json"
    )
    (run / "prior.safetensors").unlink()
    said = cli("report", run, "--json")
    assert json.loads(said.out)["results"] == 1
    html = (run / "report.html").read_text()
    assert "no clip is long enough" in html
    assert '<span class="tag">undefined</span>' in html
    assert json.loads(cli("report", run, "--json", "--overwrite", "--evaluation").out)["results"] == 0


def test_a_prior_of_other_weights_is_left_out_unless_it_was_named(run, trained, cli, refused):
    model = load(run)
    model.provenance["step"] = 7
    next(p for p in model.encoder.parameters()).data.add_(1.0)
    save(model, run / "weights-00000007.safetensors")
    prior = run / "prior.safetensors"
    refused(cli("report", run, "--prior", prior), "report", 2, "is the prior of")
    said = cli("report", run)
    assert said.status == 0, said
    assert said.err.startswith("note: The prior was left out: ")
    assert "The prior was left out" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("--count", "0"), 2, ("--count", "expected 1 to 12")),
        (("--out", "page.txt"), 2, ("--out", ".html")),
        (("--out", "nowhere/page.html"), 2, ("expected a folder that exists",)),
        (("--seed", "-1"), 2, ("--seed",)),
        (("--data", "moving_shapes"), 2, ("got (128, 8, 3, 16, 16)", "expected (N, V, 6)")),
        (("--data", "serie"), 2, ("did you mean 'series'",)),
        (("--data", "series", "--split", "val"), 2, ("split: got 'val'",)),
        (("--evaluation", "none.json"), 2, ("none.json", "no such file")),
        (("--first-stage", "x"), 2, ("--first-stage",)),
    ],
)
def test_refuses_what_cannot_be(run, cli, refused, words, status, told):
    refused(cli("report", run, *words), "report", status, *told)
    assert not (run / "report.html").exists()


def test_refuses_runs_that_are_not_there_yet(run, tmp_path, cli, refused):
    refused(cli("report", tmp_path / "none"), "report", 2, "nothing there", "diffsda train")
    for weights in run.glob("weights-*"):
        weights.unlink()
    refused(cli("report", run), "report", 2, "holds no weights", "its log ends at step")
    (run / "recipe.json").unlink()
    refused(cli("report", run), "report", 2, "holds no recipe.json")


def test_one_clip_cannot_be_swapped(run, tmp_path, cli, refused):
    write(tmp_path / "one.npz", {"x": np.zeros((1, 5, 6), np.float32)})
    refused(cli("report", run, "--data", tmp_path / "one.npz"), "report", 2, "got 1 clip")


def test_clips_of_any_length_will_do(run, tmp_path, cli):
    x = np.random.default_rng(0).normal(size=(6, 9, 6)).astype(np.float32)
    lengths = np.array([9, 4, 7, 2, 9, 5])
    write(tmp_path / "some.npz", {"x": x, "lengths": lengths})
    (run / "prior.safetensors").unlink()
    said = cli("report", run, "--data", tmp_path / "some.npz", "--steps", "2", "--count", "2")
    assert said.status == 0, said
    html = (run / "report.html").read_text()
    assert "Swaps, started" in html
    assert "The truth" not in html
    assert "Swaps: cannot be shown" not in html


def test_latents_are_shown_as_pixels(tmp_path, cli, refused):
    """A model of latents needs its first stage for pictures, not for its curves."""
    pytest.importorskip("av")
    first = build(FirstStage(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=2, codes=8)).eval()
    save_first_stage(first, tmp_path / "stage.safetensors")
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4, 3, 16, 16)).astype(np.float32)
    write(tmp_path / "pixels.npz", {"x": x})
    run, recipe = tmp_path / "run", VIDEO.replace(name="latents", clips={"latent": True, "frames": 4})
    run.mkdir()
    (run / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    model = model_of(recipe, Whitening.measure(LatentSpace(first).encode(torch.from_numpy(x)).numpy()))
    model.provenance = {"first_stage": first.digest(), "step": 2}
    save(model, run / "weights-00000002.safetensors")
    words = ("--data", tmp_path / "pixels.npz", "--count", "1", "--overwrite")
    refused(cli("report", run, *words), "report", 2, "--first-stage: got none", "2 channels")
    assert cli("report", run).status == 0
    said = cli("report", run, *words, "--first-stage", tmp_path / "stage.safetensors")
    assert said.status == 0, said
    html = (run / "report.html").read_text()
    assert "latents of a first stage" in html
    for what in ("Reconstructions", "Swaps", "Traversals"):
        assert f"{what}: cannot be shown" not in html
    assert html.count("<video") >= 6  # three films, each in there twice: reconstructions, swaps, swaps from fresh noise
