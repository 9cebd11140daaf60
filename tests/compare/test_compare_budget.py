"""Budgets: so many steps for all, or so many seconds; what a training took, whatever stopped it in between."""

import json

import pytest
import small_systems

from diffsda.compare.budget import Budget, Limit, steps_a_second, training_seconds, with_steps
from diffsda.compare.record import Comparison
from diffsda.data.registry import open_clips
from diffsda.train.log import read_log

RECIPE = small_systems.OURS


def test_steps_follow_the_budget():
    assert with_steps(RECIPE, 48, Budget(steps=9)).optim.steps == 9
    assert with_steps(RECIPE, 48, Budget(seconds=2.0), rate=7.6).optim.steps == 15
    assert with_steps(RECIPE, 48, Budget(seconds=0.01), rate=7.6).optim.steps == 1
    assert with_steps(RECIPE, 48, Budget()).optim.steps == small_systems.STEPS
    by_epochs = RECIPE.replace(optim={"steps": None, "epochs": 3})
    assert with_steps(by_epochs, 50, Budget()).optim.steps == 39


def test_every_system_gets_the_steps_of_the_command(compare, tmp_path):
    out = tmp_path / "out"
    said = compare(out, "--steps", "5", "--protocols", "eer")
    assert said.status == 0, said.err
    for name in ("ours", "dbse-series"):
        assert json.loads((out / "runs" / f"{name}-0" / "recipe.json").read_text())["optim"]["steps"] == 5
    assert {model["step"] for one in Comparison.read(out / "compare.json").systems for model in one.models} == {5}


def test_seconds_are_those_of_saved_steps(tmp_path):
    records = [(20, 40.0), (40, 80.0), (60, 40.0)]
    text = "".join(json.dumps({"step": step, "clips_per_s": pace}) + "\n" for step, pace in records)
    (tmp_path / "log.jsonl").write_text(text)
    assert training_seconds(tmp_path, 4, 60) == (2.0 + 1.0 + 2.0, 60)
    # A kill undid the last twenty steps; those up to the save at 45 are not told of.
    assert training_seconds(tmp_path, 4, 45) == (3.0, 40)
    assert training_seconds(tmp_path, 4, 10) == (0, 0)


def test_a_limit_asks_to_stop_once_past_its_seconds(monkeypatch):
    import signal

    raised, told = [], []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    limit = Limit(3.0, 4, lambda *given: told.append(given[0]), spent=1.0, step=20)
    for step in (30, 40, 50, 60):
        limit(step, 100, {"clips_per_s": 40.0, "loss": 1.0})
    assert raised == [signal.SIGTERM]
    assert limit.spent == pytest.approx(1.0 + 4 * 1.0)
    assert told == [30, 40, 50, 60]
    without = Limit(None, 4, lambda *given: None)
    without(1000, 1000, {"clips_per_s": 0.001, "loss": 1.0})
    assert len(raised) == 1


def test_a_budget_in_seconds_measures_once_and_stops_in_good_order(compare, monkeypatch, tmp_path):
    from diffsda.compare import course

    measured, out = [], tmp_path / "out"

    def rate(recipe, clips, folder, options):
        measured.append(recipe.name)
        return 1e6  # Far too fast: the clock must stop the runs, not their number of steps.

    monkeypatch.setattr(course, "steps_a_second", rate)
    words = ("--seconds", "0.2", "--protocols", "eer", "--seeds", "0", "1")
    said = compare(out, *words)
    assert said.status == 0, said.err
    assert measured == ["ours", "dbse-series"]
    made = Comparison.read(out / "compare.json")
    assert made.budget["rates"] == {"ours": 1e6, "dbse-series": 1e6}
    for one in made.systems:
        for model in one.models:
            assert 0.2 <= model["seconds"] < 2.0
            assert model["step"] < 200_000
            assert read_log(out / "runs" / f"{one.name}-0")[-1]["lr"] > 0
    # What is at its end is not gone on with.
    steps = [model["step"] for one in made.systems for model in one.models]
    assert compare(out, *words).status == 0
    again = Comparison.read(out / "compare.json")
    assert [model["step"] for one in again.systems for model in one.models] == steps
    assert len(measured) == 2


def test_the_pace_is_measured_in_a_run_that_is_thrown_away(stage, tmp_path):
    clips = open_clips(stage.fit)
    rate = steps_a_second(RECIPE, clips, tmp_path / "warm-up", {"device": "cpu"})
    assert 1 < rate < 1e5
    assert not (tmp_path / "warm-up").exists()
