"""Whole comparisons of all systems on the sets that come with the package, with budgets of a few steps."""

import contextlib
import io
import json

import pytest
import system_models

from diffsda.cli import main
from diffsda.compare.record import Comparison
from diffsda.systems import preset

pytestmark = pytest.mark.slow


def compared(folder, recipes, data, *more):
    files = []
    for recipe in recipes:
        files.append(str(folder / f"{recipe.name}.json"))
        (folder / f"{recipe.name}.json").write_text(json.dumps(recipe.to_dict()))
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        status = main(["compare", *files, "--data", data, "--out", str(folder / "out"), "--steps", "3", *more])
    assert status == 0, said.getvalue()
    return Comparison.read(folder / "out" / "compare.json")


def test_japanese_vowels_with_trials(tmp_path):
    ours = preset("demo").replace(
        backbone={"width": 8}, encoder={"width": 8, "hidden": 8, "static": 6}, sampling={"steps": 2}
    )
    names = ("dbse-audio", "spyl-vector", "divid-vector")
    theirs = [system_models.RECIPES[name].replace(clips={"channels": 12}) for name in names]
    more = ("--trials", "2", "--count", "60", "--set", 'swap-labels.judge={"updates":5}')
    made = compared(tmp_path, [ours, *theirs], "japanese_vowels", *more)
    assert made.data == "japanese_vowels"
    assert made.tuning["criterion"] == "eer-gap"
    assert made.clips["test"] == 60
    assert made.first("joint_accuracy") is None
    assert made.first("eer_gap") in {one.name for one in made.systems}
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "- not defined here: joint swap accuracy" in text


def test_moving_shapes(tmp_path):
    ours = preset("tiny_video").replace(
        backbone={"multipliers": (1,), "attention": ()},
        encoder={"multipliers": (1,), "attention": ()},
        sampling={"steps": 2},
        optim={"batch": 4},
    )
    theirs = [system_models.RECIPES[name] for name in ("dbse-video", "spyl-video", "divid-video")]
    settings = ('swap-labels.judge={"updates":5}', "swap-labels.pairs=10", "swap-labels.leakage=false")
    more = ("--count", "20", "--protocols", "swap-labels", "eer", "--set", *settings, "--rows", "2")
    made = compared(tmp_path, [ours, *theirs], "moving_shapes", *more)
    assert [one.system for one in made.systems] == ["diffsda", "dbse-video", "spyl", "divid"]
    assert "error against the true swap" in (tmp_path / "out" / "compare.md").read_text()
    for one in made.systems:
        assert any(row.metric == "joint_accuracy" and row.mean == row.mean for row in one.rows["swap-labels"])
