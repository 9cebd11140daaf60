"""Kills at random moments: what is on disk is always whole, and a run killed often ends as one left alone."""

import json
import os
from pathlib import Path

import pytest
from killed_runs import RECIPE
from training_runs import assert_same_run, clips, run

from diffsda.train.loop import Options, train

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SCRIPT = Path(__file__).with_name("killed_runs.py")


def killed(mode, folder, kills, seed, timeout=300):
    status, out, err = run(SCRIPT, mode, folder, kills, seed, timeout=timeout)
    assert status == 0, err
    assert "child:" not in err
    return json.loads(out)


def test_checkpoints_survive_kills(tmp_path):
    seen = killed("saving", tmp_path, 10, 0)
    assert seen["kills"] == 10
    assert seen["steps"][-1] >= 10


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_checkpoints_survive_a_hundred_kills(tmp_path):
    seen = killed("saving", tmp_path, 100, 1, timeout=800)
    assert seen["kills"] == 100
    assert seen["between"] > 0, "no kill fell between state and model file"
    assert seen["parts"] > 0, "no kill fell into a write"


def kill_and_compare(tmp_path, kills, seed):
    seen = killed("training", tmp_path / "run", kills, seed)
    train(RECIPE, clips(RECIPE, lengths=True), tmp_path / "whole", Options(log_every=1, save_every=1))
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert not list((tmp_path / "run").glob(".*")), "leftovers of kills are swept up"
    return seen


def test_a_run_killed_often_ends_as_one_left_alone(tmp_path):
    assert kill_and_compare(tmp_path, 4, 0)["kills"] >= 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_runs_killed_often_end_as_one_left_alone(tmp_path, seed):
    assert kill_and_compare(tmp_path, 12, seed)["kills"] >= 2
