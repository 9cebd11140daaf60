"""Static labels from planted factors, end to end, beside guesses."""

import dataclasses
import math

import numpy as np
import planted
import pytest
from sklearn.dummy import DummyClassifier

from diffsda.errors import InputError
from diffsda.evaluate import forest
from diffsda.evaluate.heads import static_class
from diffsda.evaluate.protocols.classification import run

QUICK = {"runs": 2, "passes": 60, "lr": 1e-2}


def units(count, seed, told=True):
    """Clips of four units; s lies around the unit's place, or anywhere."""
    draw = np.random.default_rng(seed)
    unit = draw.integers(0, 4, count)
    s = draw.normal(size=(count, 4)) + (4 * np.eye(4)[unit] if told else 0)
    return planted.clips(s, draw.normal(size=(count, 5, 2)), icu_type=unit, ward=np.zeros(count, int))


def score(fit, test, **settings):
    """Rows of the label icu_type by metric and baseline."""
    usual = {"static": ("icu_type",), "options": QUICK}
    return planted.table(run(planted.job(fit, test, **usual | settings)))


def test_units_from_planted_factors():
    rows = score(units(150, 0), units(100, 1))
    model = rows["accuracy_icu_type", False]
    assert model.values[0] > 0.7
    assert model.count == 100
    assert model.unit == "share"
    assert rows["balanced_accuracy_icu_type", False].values[0] > 0.7
    assert rows["accuracy_icu_type", True].values[0] > 0.9
    assert rows["accuracy_icu_type", True].about == "icu type, random forest on the values"


def test_without_a_rule_it_is_chance():
    rows = score(units(150, 0, False), units(200, 1, False))
    assert abs(rows["accuracy_icu_type", False].values[0] - 0.25) < 0.12


def test_guesses_by_hand():
    fit, test = units(40, 0), units(30, 1)
    fit = dataclasses.replace(fit, labels={"icu_type": np.array([2] * 30 + [0] * 10)})
    rows = run(planted.job(fit, test, static=("icu_type",), options={"runs": 1, "passes": 1}))
    told = {row.about: row.values[0] for row in rows if row.baseline and row.metric == "accuracy_icu_type"}
    assert told["icu type, a guess"] == 0.5
    assert told["icu type, always the commonest class"] == (test.labels["icu_type"] == 2).mean()


def test_clips_without_a_label_are_left_out():
    test = units(30, 1)
    label = test.labels["icu_type"].copy()
    label[:10] = -1
    rows = score(units(60, 0), dataclasses.replace(test, labels={"icu_type": label}))
    assert rows["accuracy_icu_type", False].count == 20


def test_one_class_is_no_number():
    rows = run(planted.job(units(30, 0), units(20, 1), static=("ward",), options=QUICK))
    told = {row.about: row for row in rows}
    # To always say the one class is right always, and says nothing; what is to be learned has no number.
    for about in ("ward, told from s", "ward, random forest on the values", "ward, a guess"):
        assert math.isnan(told[about].values[0])
        assert told[about].reason
    single = dataclasses.replace(units(4, 0), labels={"icu_type": np.arange(4)})
    rows = score(single, units(20, 1))
    assert "no two training clips" in rows["accuracy_icu_type", False].reason
    nobody = dataclasses.replace(units(4, 0), labels={"icu_type": np.full(4, -1)})
    assert "no test clip" in score(units(20, 1), nobody)["accuracy_icu_type", False].reason


def test_one_class_among_test_clips_has_no_balanced_accuracy():
    test = dataclasses.replace(units(20, 1), labels={"icu_type": np.full(20, 3)})
    rows = score(units(60, 0), test)
    assert math.isnan(rows["balanced_accuracy_icu_type", False].values[0])
    assert not math.isnan(rows["accuracy_icu_type", False].values[0])


def test_a_label_that_is_not_there_is_refused():
    made = units(10, 0)
    with pytest.raises(InputError, match="icu_type, ward"):
        run(planted.job(made))
    with pytest.raises(InputError, match="'month'"):
        run(planted.job(made, static=("month",)))


def test_labels_are_scored_one_by_one():
    made = units(30, 0)
    rows = run(planted.job(made, static=("icu_type", "ward"), options={"runs": 1, "passes": 1}))
    assert len(rows) == 12
    assert {row.metric for row in rows} == {
        f"{metric}_{name}" for metric in ("accuracy", "balanced_accuracy") for name in ("icu_type", "ward")
    }


def test_with_a_model():
    made = units(24, 0)
    job = planted.job(made, model=planted.tiny(), static=("icu_type",), options={"runs": 1, "passes": 5})
    values = [row.values for row in run(job)]
    assert values == [row.values for row in run(job)]
    published = run(dataclasses.replace(job, as_published=True, options={"runs": 2, "passes": 5}))
    assert len(published) == len(values)


@pytest.mark.parametrize(
    ("data", "passes", "batch", "words"),
    [
        ("physionet", 205, 30, "icu type, told from s"),
        ("airq", 305, 10, "icu type, told from s"),
        ("mine", 205, 30, "icu type, told from s, fitted as on physionet"),
    ],
)
def test_as_published_heads_are_fitted_as_the_authors_fit_them_on_the_set(monkeypatch, data, passes, batch, words):
    fitted = []
    monkeypatch.setattr(static_class, "fit", lambda head, loss, rows, **how: fitted.append(how))
    monkeypatch.setattr(forest, "classes", lambda seed: DummyClassifier())  # a quick one
    # All clips would be dealt with in one batch, were it not as published.
    monkeypatch.setattr(static_class, "STEPS", 1)
    made = dataclasses.replace(units(60, 0), name=data)
    job = planted.job(made, units(20, 1), static=("icu_type",))
    job = dataclasses.replace(job, test=dataclasses.replace(job.test, name=data), as_published=True)
    rows = run(job)
    assert [(how["passes"], how["batch"], how["lr"]) for how in fitted] == [(passes, batch, 1e-4)] * 2
    assert [row.about for row in rows if not row.baseline] == [words] * 2
    fitted.clear()
    run(dataclasses.replace(job, as_published=False))
    assert [(how["passes"], how["lr"]) for how in fitted] == [(205, 1e-3)] * 3
    assert all(how["batch"] > 45 for how in fitted)
    fitted.clear()
    run(dataclasses.replace(job, options={"runs": 1, "passes": 4, "lr": 0.5}))
    assert [(how["passes"], how["batch"], how["lr"]) for how in fitted] == [(4, batch, 0.5)]
