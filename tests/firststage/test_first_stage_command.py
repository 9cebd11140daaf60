"""The command that fits a first stage: what it leaves and prints, and what it refuses."""

import json

import pytest
import torch

from diffsda.cli import main
from diffsda.data.arrays import write
from diffsda.data.synthetic.shapes import moving_shapes
from diffsda.firststage.build import build
from diffsda.firststage.files import digest, load_first_stage
from diffsda.firststage.perceptual import WIDTHS, Perceptual
from diffsda.firststage.recipe import FirstStage
from diffsda.report.canvas import provenance

NET = FirstStage(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=4, codes=16)
SMALL = ["--net.size", 16, "--net.multipliers", 1, 1, "--net.attention", "--net.codes", 16]
SMALL += ["--fit.steps", 4, "--fit.batch", 2, "--fit.disc-start", 2, "--fit.disc-layers", 1, "--fit.disc-width", 4]


@pytest.fixture
def say(capsys):
    """Run the verb; return the exit status, stdout and stderr."""

    def run(*words):
        capsys.readouterr()
        status = main(["train-first-stage", *map(str, words)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "shapes.npz"
    write(path, {"x": moving_shapes(3, 4, 16).x})
    return path


def test_a_run(say, clips, tmp_path):
    out = tmp_path / "run"
    status, said, told = say("tiny", "--data", clips, "--out", out, "--log-every", 1, "--json", *SMALL)
    assert status == 0
    about = json.loads(said)
    assert about["step"] == 4
    assert about["digest"] == digest(out)
    assert load_first_stage(out).stage == NET
    assert "no --perceptual weights: frames are compared by L1 and the discriminator alone\n" in told
    assert "frames: 12 frames of 3 clips, in memory\n" in told
    assert f"12 frames come back at {about['psnr']:.1f} dB\n" in told
    text = provenance(out / "figures" / "reconstructions.png")
    assert (text["checkpoint"], text["seed"], text["step"]) == (about["digest"], "0", "4")
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {"l1", "latent", "psnr", "codes_used", "frames_per_s"} <= log[0].keys()
    assert {"fooled", "discriminator"} <= log[-1].keys()


def test_stopping_and_going_on(say, clips, tmp_path):
    words = ["tiny", "--data", clips, *SMALL]
    assert say(*words, "--out", tmp_path / "whole")[0] == 0
    status, said, _ = say(*words, "--out", tmp_path / "parts", "--until", 2)
    assert (status, said) == (0, f"{tmp_path / 'parts'}\n")
    assert say(*words, "--out", tmp_path / "parts", "--resume")[0] == 0
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")


def test_given_weights(say, clips, tmp_path):
    start = build(NET)
    # As latent diffusion keeps them: one file holds the autoencoder and the perceptual weights.
    inner = {}
    for name, value in Perceptual().state_dict().items():
        stage, number, kind = (name.split(".") + ["", ""])[1:4]
        if name.startswith("stages"):
            inner[f"loss.perceptual_loss.net.slice{int(stage) + 1}.{number}.{kind}"] = value
    for i, width in enumerate(WIDTHS):
        inner[f"loss.perceptual_loss.lin{i}.model.1.weight"] = torch.ones(1, width, 1, 1)
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {**start.state_dict(), **inner}}, path)
    out = tmp_path / "run"
    words = ["tiny", "--data", clips, "--out", out, "--start", path, "--perceptual", path, *SMALL, "--log-every", 1]
    status, _, told = say(*words)
    assert status == 0
    assert "no --perceptual" not in told
    about = json.loads((out / "provenance.json").read_text())
    assert about["begun_from"] == start.digest()
    assert len(about["perceptual"]) == 64
    assert json.loads((out / "log.jsonl").read_text().splitlines()[0])["perceptual"] > 0


def test_pixels_from_0_to_1_are_told(say, clips, tmp_path):
    write(tmp_path / "half.npz", {"x": (moving_shapes(3, 4, 16).x + 1) / 2})
    words = ["tiny", *SMALL, "--until", 1]
    half = say(*words, "--data", tmp_path / "half.npz", "--out", tmp_path / "half")
    assert "warning: no pixel is below 0" in half[2]
    assert "warning" not in say(*words, "--data", clips, "--out", tmp_path / "whole")[2]


def test_a_dry_run_shows_what_would_be_fitted(say):
    status, said, told = say("kl8", "--dry-run", "--fit.lr", "1e-5", "--net.width", 64)
    shown = json.loads(said)
    assert (status, told) == (0, "")
    assert (shown["net"]["kind"], shown["net"]["width"], shown["fit"]["lr"]) == ("kl", 64, 1e-5)


@pytest.mark.parametrize(
    ("words", "status", "found"),
    [
        ([], 2, "expected `diffsda train-first-stage CONFIG ...` with one of vq4, vq8, kl8, tiny"),
        (["vq88"], 2, "did you mean 'vq8'"),
        (["tiny"], 2, "--data: got nothing"),
        (["tiny", "--data", "moving_shapes"], 2, "--out: got nothing"),
        (["tiny", "--data", "moving_shapes", "--out", "OUT"], 2, "change net.channels or net.size"),
        (["tiny", "--data", "japanese_vowels", "--out", "OUT"], 2, "got clips"),
        (["tiny", "--data", "CLIPS", "--out", "OUT", "--start", "CLIPS"], 1, "cannot be read"),
        (["tiny", "--data", "CLIPS", "--out", "OUT", "--perceptual", "none.pth"], 1, "no such file"),
        (["tiny", "--net.width", "33", "--dry-run"], 2, "multiple of 32"),
        (["tiny", "--fit.steps", "0", "--dry-run"], 2, "fit.steps"),
    ],
)
def test_what_is_refused(say, clips, tmp_path, words, status, found):
    out = tmp_path / "run"
    given = [{"OUT": out, "CLIPS": clips}.get(word, word) for word in words]
    got, said, told = say(*given)
    last = told.splitlines()[-1]
    assert (got, said) == (status, "")
    assert last.startswith("diffsda train-first-stage: error: ")
    assert found in last
    assert "unexpected" not in told
    assert not out.exists()
