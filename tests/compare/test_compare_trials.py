"""Tuning: equal trials, chosen on validation clips, and no look at the test part before the choice."""

import dataclasses
import json
import math

import numpy as np
import pytest

from diffsda.compare.budget import Budget
from diffsda.compare.plan import Plan, protocols_of, settings_of
from diffsda.compare.record import Comparison
from diffsda.compare.trials import CRITERIA, Trial, best, criterion, held_out
from diffsda.data.clip import Clips
from diffsda.errors import InputError, TrainingError


def clips(count=24, **labels):
    x = np.random.default_rng(0).normal(size=(count, 4, 2)).astype(np.float32)
    return Clips(x, labels={name: np.asarray(label) for name, label in labels.items()})


@pytest.fixture
def course(monkeypatch):
    """What is opened, trained on and scored, in order."""
    from diffsda.cli import evaluation
    from diffsda.data import registry
    from diffsda.train import loop

    events, real_open, real_train = [], registry.open_clips, loop.train
    real_evaluation = evaluation.Evaluation.result

    def opened(source, split="train", form=None):
        events.append(("open", split))
        return real_open(source, split, form)

    def train(recipe, given, folder, options=None, **more):
        events.append(("train", folder.parent.name, folder.name, recipe.optim.lr, set(given.fingerprint_of)))
        return real_train(recipe, given, folder, options, **more)

    def result(self, journal):
        made = real_evaluation(self, journal)
        events.append(("score", self.options.split, rows_of(self.test), rows_of(self.fit)))
        return made

    def rows_of(held):
        return {row.tobytes() for row in held.x}

    monkeypatch.setattr(registry, "open_clips", opened)
    monkeypatch.setattr(Clips, "fingerprint_of", property(rows_of), raising=False)
    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(evaluation.Evaluation, "result", result)
    return events


def test_trials_never_see_test_clips(course, compare, stage, tmp_path):
    grid = {"ours": [{"optim": {"lr": 2e-3}}, {}], "dbse-series": [{}, {"settings": {"weight_static": 0.5}}]}
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    out = tmp_path / "out"
    more = ("--trials", "2", "--grid", tmp_path / "grid.json", "--criterion", "eer-gap", "--protocols", "eer")
    said = compare(out, *more)
    assert said.status == 0, said.err
    with np.load(stage.test) as held:
        test = {row.tobytes() for row in held["x"].astype(np.float32)}
    tried = [event for event in course if event[0] == "train" and event[1] == "trials"]
    assert [event[2] for event in tried] == ["ours-0", "ours-1", "dbse-series-0", "dbse-series-1"]
    assert [event[3] for event in tried[:2]] == [2e-3, 1e-3]
    scores = [event for event in course if event[0] == "score"]
    assert [event[1] for event in scores] == ["val"] * 4 + ["test"] * 2
    assert len({len(event[4]) for event in tried}) == 1
    for _, _, validated, fitted in scores[:4]:
        assert not validated & test
        assert not fitted & test
        assert not validated & fitted
        assert tried[0][4] == fitted
    # Until the last trial is scored the test part is not even opened.
    last = max(i for i, event in enumerate(course) if event[:2] == ("score", "val"))
    assert ("open", "test") not in course[:last]
    assert ("open", "test") in course[last:]
    made = Comparison.read(out / "compare.json")
    assert made.tuning["criterion"] == "eer-gap"
    for one in made.systems:
        found = [trial["score"] for trial in one.trials]
        assert len(found) == 2
        assert found[one.chosen] == max(found)
        chosen = json.loads((out / "runs" / f"{one.name}-0" / "recipe.json").read_text())
        trained = json.loads((out / "trials" / f"{one.name}-{one.chosen}" / "recipe.json").read_text())
        assert chosen["digest"] == trained["digest"]


def test_a_trial_that_diverges_has_no_score_and_is_not_tried_again(compare, monkeypatch, tmp_path):
    from diffsda.train import loop

    real, begun = loop.train, []

    def train(recipe, given, folder, options=None, **more):
        begun.append(folder.name)
        if folder.parent.name == "trials" and folder.name == "ours-1":
            raise TrainingError("the loss was not finite")
        return real(recipe, given, folder, options, **more)

    monkeypatch.setattr(loop, "train", train)
    out, more = tmp_path / "out", ("--trials", "2", "--criterion", "eer-gap", "--protocols", "eer")
    assert compare(out, *more, recipes=("ours",)).status == 0
    (one,) = Comparison.read(out / "compare.json").systems
    assert one.chosen == 0
    assert one.trials[1]["score"] is None
    assert "not finite" in one.trials[1]["reason"]
    begun.clear()
    assert compare(out, *more, recipes=("ours",)).status == 0
    assert not begun


def test_what_is_held_out_is_always_the_same_and_whole_recordings():
    who, of = np.repeat(np.arange(3), 8), np.arange(24) // 2
    fit, held = held_out(clips(who=who, utterance=of), ("who",))
    assert not set(fit.labels["utterance"]) & set(held.labels["utterance"])
    assert set(fit.labels["who"]) == set(held.labels["who"]) == {0, 1, 2}
    again = held_out(clips(who=who, utterance=of), ("who",))
    assert again[1].fingerprint() == held.fingerprint()
    fit, held = held_out(clips(who=who), ("who",))
    assert (len(fit), len(held)) == (15, 9)
    assert set(held.labels["who"]) == {0, 1, 2}


def test_the_criterion_follows_the_labels():
    both = clips(who=np.arange(24) % 2, what=np.arange(24) % 3)
    assert criterion(None, both, ("who",), ("what",)).name == "joint"
    assert criterion(None, both, ("who",), ()).name == "eer-gap"
    assert criterion(None, both, (), ()).name == "reconstruction"
    with pytest.raises(InputError, match="lacks the labels"):
        criterion("joint", both, ("who",), ())
    with pytest.raises(InputError, match="expected one of joint"):
        criterion("jiont", both, ("who",), ("what",))
    assert CRITERIA["reconstruction"].sign == -1


def test_protocols_and_their_settings_follow_the_labels(tmp_path):
    moving = np.arange(96).reshape(24, 4) % 2  # A label that changes within every clip is none of whole clips.
    held = clips(who=np.arange(24) % 2, where=np.arange(24) % 4, what=moving)
    plan = Plan(entries=(), data="made", out=tmp_path, seeds=(0,), budget=Budget(), judge_seed=5)
    assert protocols_of(held, ("who",), (), faces=True) == ("swap-labels", "eer", "reconstruction")
    assert protocols_of(held, (), ("what",), faces=False) == ("reconstruction",)
    assert settings_of("eer", held, ("what", "who", "where"), plan)["speaker"] == ["who", "where"]
    assert settings_of("eer", held, ("what", "who"), plan) == {"voices": False, "speaker": "who"}
    assert settings_of("swap-labels", held, ("who",), plan) == {"judge_seed": 5}
    asked = dataclasses.replace(plan, settings={"eer": {"speaker": "where"}})
    assert settings_of("eer", held, ("who",), asked)["speaker"] == "where"
    film = Clips(np.zeros((2, 4, 3, 8, 8), np.float32))
    assert protocols_of(film, (), (), faces=True) == ("reconstruction", "verification")


def test_the_best_trial_is_the_first_of_the_highest():
    assert best([Trial(overrides={}, score=score) for score in (math.nan, 0.5, 0.7, 0.7)]) == 2
    with pytest.raises(InputError, match="none has a score: why"):
        best([Trial(overrides={}, reason="why")])
