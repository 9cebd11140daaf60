"""The demonstration: what it leaves, what it says, and that its scores are of what it trained."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import diffsda
from diffsda.cli import main
from diffsda.cli.demo import _make_room
from diffsda.data.embedded import japanese_vowels
from diffsda.evaluate.disentanglement import donors, score
from diffsda.firststage.clips import whitened
from diffsda.presets import preset

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "run"
    done = subprocess.run(
        [sys.executable, "-m", "diffsda", "demo", "--out", str(folder), "--steps", "40"],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_leaves_model_figures_and_page(demo):
    folder, line = demo
    assert diffsda.load(folder).recipe.digest == preset("demo").replace(optim={"steps": 40}).digest
    assert {p.name for p in (folder / "figures").iterdir()} == {
        f"{n}.png" for n in ("swaps", "strips", "static", "dynamic", "loss", "rate")
    }
    page = (folder / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert not re.search(r"(?:src|href)=[\"']https?:", page)
    assert f"{line['accuracy_static']:.3f}" in page


def test_last_line_has_every_score(demo):
    _, line = demo
    for name in (
        "accuracy_static",
        "accuracy_dynamic_frame",
        "accuracy_dynamic_all",
        "accuracy_mean_feature",
        "eer_static",
        "eer_dynamic",
        "eer_mean_feature",
        "swap_read_as_static",
        "swap_read_as_dynamic",
        "trajectory_to_dynamic",
        "trajectory_to_static",
        "reconstruction_mse",
        "seconds",
    ):
        assert np.isfinite(line[name]), name
    # The raw mean feature's accuracy on the official split does not depend on the training.
    assert line["accuracy_mean_feature"] == pytest.approx(0.968, abs=0.001)


def test_scores_are_of_the_saved_model(demo):
    folder, line = demo
    model = diffsda.load(folder)
    fit, test = (whitened(japanese_vowels.load(s), model.whitening) for s in ("train", "test"))
    again = score(model, fit, test, label="speaker", seed=0)
    assert again.accuracy_static == pytest.approx(line["accuracy_static"], abs=1e-4)
    assert again.swaps["dynamic"].read_as_static == pytest.approx(line["swap_read_as_static"], abs=0.006)
    assert again.swaps["dynamic"].trajectory_to_dynamic == pytest.approx(line["trajectory_to_dynamic"], abs=1e-3)


def test_donors_have_another_label():
    labels = np.repeat(np.arange(4), 5)
    drawn = donors(labels, seed=3)
    assert (labels[drawn] != labels).all()
    assert (drawn == donors(labels, seed=3)).all()
    assert (drawn != donors(labels, seed=4)).any()


def test_swap_of_reconstructed_motion_scores_as_expected(demo):
    """Swapping a clip's dynamics with its own is a reconstruction: read as itself, moving like itself."""
    folder, _ = demo
    model = diffsda.load(folder)
    fit, test = (whitened(japanese_vowels.load(s), model.whitening) for s in ("train", "test"))
    few = test.select(np.arange(0, 370, 10))
    own = score(model, fit, few, label="speaker", pairs=np.arange(len(few)))
    swaps = own.swaps["dynamic"]
    assert swaps.read_as_static == swaps.read_as_dynamic >= 0.9
    assert swaps.trajectory_to_dynamic > 0.999


def test_refuses_an_existing_folder(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("keep me")
    assert main(["demo", "--out", str(tmp_path), "--overwrite"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_an_earlier_demo_stays_until_the_new_one_is_whole(tmp_path):
    old = tmp_path / "demo"
    old.mkdir()
    (old / "recipe.json").write_text("{}")
    beside = _make_room(old, overwrite=True)
    assert beside != old
    assert beside.parent == old.parent
    assert (old / "recipe.json").exists()
    beside.mkdir()
    (beside / "recipe.json").write_text("{}")  # as a stopped demo leaves it
    assert not _make_room(old, overwrite=True).exists()
    assert _make_room(tmp_path / "new", overwrite=True) == tmp_path / "new"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "1", "1"], "different whole numbers"),
        (["--threads", "0"], "at least 1"),
        (["--record", "no/such/folder/record.json"], "no folder"),
        (["--steps", "0"], "at least 1"),
    ],
)
def test_refuses_bad_options(tmp_path, capsys, words, said):
    assert main(["demo", "--out", str(tmp_path / "run"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_whole_demo_in_time(tmp_path):
    """The full training takes the speaker out of d and keeps it in s, within the time promised."""
    done = subprocess.run(
        [sys.executable, "-m", "diffsda", "demo", "--out", str(tmp_path / "run"), "--seeds", "0", "--validate"],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["seconds"] < 240
    assert line["accuracy_static"] > 0.9
    assert line["accuracy_dynamic_frame"] < 0.25
    assert line["swap_read_as_static"] > 0.75
    assert line["trajectory_to_dynamic"] - line["trajectory_to_static"] > 0.05
