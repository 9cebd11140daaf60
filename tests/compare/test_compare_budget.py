"""Budgets: so many steps for all, or so many seconds; what a training took, whatever stopped it in between."""

import json

import pytest
import small_systems

from diffsda.compare.budget import (
    MEASURED,
    Budget,
    Limit,
    Pace,
    measured_pace,
    training_seconds,
    warm_up_steps,
    with_steps,
)
from diffsda.compare.record import Comparison
from diffsda.data.registry import open_clips
from diffsda.systems import recipe_from_dict
from diffsda.train.log import read_log

RECIPE = small_systems.OURS


def test_steps_follow_the_budget():
    assert with_steps(RECIPE, 48, Budget(steps=9)).optim.steps == 9
    assert with_steps(RECIPE, 48, Budget(seconds=2.0), Pace(7.6)).optim.steps == 15
    assert with_steps(RECIPE, 48, Budget(seconds=0.01), Pace(7.6)).optim.steps == 1
    assert with_steps(RECIPE, 48, Budget()).optim.steps == small_systems.STEPS
    by_epochs = RECIPE.replace(optim={"steps": None, "epochs": 3})
    assert with_steps(by_epochs, 50, Budget()).optim.steps == 39


def test_a_warm_up_has_a_pace_of_its_own():
    pace = Pace(whole=10.0, warm_up=20.0)
    assert pace.steps(1.0, 40) == 20
    assert pace.steps(2.0, 40) == 40
    assert pace.steps(3.0, 40) == 50
    assert pace.steps(3.0, 0) == 30
    assert [Pace.from_plain(one.to_plain()) for one in (pace, Pace(7.5))] == [pace, Pace(7.5)]
    assert Pace(7.5).to_plain() == 7.5
    late = small_systems.THEIRS["spyl-vector"].replace(settings={"warm_up": 5})
    assert warm_up_steps(late, 48) == 5 * -(-48 // late.optim.batch)
    assert warm_up_steps(RECIPE, 48) == 0
    assert with_steps(late, 48, Budget(seconds=1e3), pace).optim.steps == pace.steps(1e3, warm_up_steps(late, 48))


def test_the_pace_behind_a_warm_up_is_measured_behind_it(stage, tmp_path, monkeypatch):
    from diffsda.baselines.spyl.model import SPYL
    from diffsda.train import loop

    seen, real = [], SPYL.loss

    def loss(self, *given, **more):
        seen[-1].append(self.contrasting)
        return real(self, *given, **more)

    def train(*given, real=loop.train, **more):
        seen.append([])
        return real(*given, **more)

    monkeypatch.setattr(SPYL, "loss", loss)
    monkeypatch.setattr(loop, "train", train)
    # Its warm-up ends within a measured run, and does not end there.
    late = small_systems.THEIRS["spyl-vector"].replace(settings={"warm_up": 2})
    pace = measured_pace(late, open_clips(stage.fit), tmp_path / "warm-up", {"device": "cpu"})
    # Its work is counted once before it begins.
    assert [one[-MEASURED:] for one in seen] == [[False] * MEASURED, [True] * MEASURED]
    assert pace.warm_up > pace.whole > 1


def test_a_budget_that_ends_in_a_warm_up_is_told_of(compare, stage, tmp_path):
    late = small_systems.THEIRS["spyl-vector"].replace(settings={"warm_up": 50})
    (tmp_path / "late.json").write_text(json.dumps(late.to_dict()))
    said = compare(tmp_path / "out", "--steps", "5", "--protocols", "eer", recipes=(tmp_path / "late.json",))
    assert said.status == 0, said.err
    words = f"its 5 steps end within its warm-up of {warm_up_steps(late, 48)}"
    assert f"warning: spyl-vector: {words}" in said.err
    assert f"- spyl-vector: {words}" in (tmp_path / "out" / "compare.md").read_text()


def test_a_signal_while_the_pace_is_measured_leaves_with_its_status(compare, monkeypatch, tmp_path):
    from diffsda.train import loop

    def stopped(recipe, clips, folder, options=None, **more):
        return loop.Result(model=None, step=1, finished=False, signal=15)

    monkeypatch.setattr(loop, "train", stopped)
    said = compare(tmp_path / "out", "--seconds", "5")
    assert said.status == 143
    assert "go on with the same command" in said.err


def test_every_system_gets_the_steps_of_the_command(compare, tmp_path):
    out = tmp_path / "out"
    said = compare(out, "--steps", "5", "--protocols", "eer")
    assert said.status == 0, said.err
    for name in ("ours", "dbse-series"):
        assert json.loads((out / "runs" / f"{name}-0" / "recipe.json").read_text())["optim"]["steps"] == 5
    made = Comparison.read(out / "compare.json").systems
    assert {model["step"] for one in made for model in one.models} == {5}
    # The recipe in the record is the one that was trained, and so is its digest.
    assert all(recipe_from_dict(one.recipe).digest == one.digest == one.models[0]["recipe"] for one in made)


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
        return Pace(1e6)  # Far too fast: the clock must stop the runs, not their number of steps.

    monkeypatch.setattr(course, "measured_pace", rate)
    words = ("--seconds", "0.2", "--protocols", "eer", "--seeds", "0", "1")
    said = compare(out, *words)
    assert said.status == 0, said.err
    assert measured == ["ours", "dbse-series"]
    made = Comparison.read(out / "compare.json")
    assert made.budget["rates"] == {"ours": 1e6, "dbse-series": 1e6}
    for one in made.systems:
        for model in one.models:
            # 200 000 steps would take minutes; how late the clock is looked at depends on the machine.
            assert 0.2 <= model["seconds"] < 60
            assert model["step"] < 200_000
            assert read_log(out / "runs" / f"{one.name}-0")[-1]["lr"] > 0
        steps = ", ".join(f"{model['step']} of {model['planned']}" for model in one.models)
        assert f"- {one.name}: stopped by the clock at step {steps}" in (out / "compare.md").read_text()
    # What is at its end is not gone on with.
    steps = [model["step"] for one in made.systems for model in one.models]
    assert compare(out, *words).status == 0
    again = Comparison.read(out / "compare.json")
    assert [model["step"] for one in again.systems for model in one.models] == steps
    assert len(measured) == 2


def test_the_pace_is_measured_in_a_run_that_is_thrown_away(stage, tmp_path):
    clips = open_clips(stage.fit)
    pace = measured_pace(RECIPE, clips, tmp_path / "warm-up", {"device": "cpu"})
    assert pace.warm_up is None
    assert 1 < pace.whole < 1e5
    assert not (tmp_path / "warm-up").exists()
