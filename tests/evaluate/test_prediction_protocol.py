"""Mortality and oil temperature from planted factors, end to end, beside predictors that see none."""

import dataclasses
import math

import numpy as np
import planted
import pytest

from diffsda.data.arrays import write
from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.evaluate.protocols.prediction import run
from diffsda.evaluate.result import merge

QUICK = {"runs": 1, "passes": 15}


def patients(count, seed, shuffle=False):
    """Clips whose death stands in s, one of the last not known."""
    draw = np.random.default_rng(seed)
    s, d = 2 * draw.normal(size=(count, 4)), draw.normal(size=(count, 6, 2))
    death = (s[:, 0] > 1).astype(int)
    death = draw.permutation(death) if shuffle else death
    death[-1] = -1
    return planted.clips(s, d, death=death)


def months(count, seed):
    """Clips of months, 20 hours each, and a temperature that d and s tell."""
    draw = np.random.default_rng(seed)
    s, d = draw.normal(size=(count, 4)), draw.normal(size=(count, 20, 2))
    made = planted.clips(s, d, month=np.arange(count) % 12)
    return made, (2 + 2 * s[:, :1] + 3 * d[:, :, 0]).astype(np.float32)


def folder_of(path, fit, test):
    """A prepared folder's files: clips, labels and the temperature beside them."""
    path.mkdir(exist_ok=True)
    for split, (clips, oil) in {"train": fit, "test": test}.items():
        write(path / f"{split}.npz", {"x": clips.x, "OT": oil, **clips.labels})
    return path


def test_mortality_from_planted_factors():
    rows = planted.table(run(planted.job(patients(200, 0), patients(120, 1), options={**QUICK, "passes": 25})))
    assert rows["auroc", False].values[0] > 0.95
    assert rows["auprc", False].values[0] > 0.85
    assert rows["auroc", False].count == 119
    # The forest reads the values themselves, in which the rule stands too.
    assert rows["auroc", True].values[0] > 0.95
    assert rows["auroc", False].better == "higher"


def test_what_sees_nothing_is_told():
    fit, test = patients(200, 0), patients(120, 1)
    blind = [row for row in run(planted.job(fit, test, options=QUICK)) if "without information" in row.about]
    known = test.labels["death"][test.labels["death"] >= 0]
    assert {row.metric: row.values[0] for row in blind} == {"auprc": known.mean(), "auroc": 0.5}
    assert all(row.baseline for row in blind)


def test_mortality_without_a_rule_is_chance():
    rows = planted.table(run(planted.job(patients(200, 0, True), patients(150, 1, True), options=QUICK)))
    assert abs(rows["auroc", False].values[0] - 0.5) < 0.2


def test_one_class_is_no_number():
    fit, test = patients(40, 0), patients(30, 1)
    alive = dataclasses.replace(test, labels={"death": np.zeros(30, int)})
    rows = run(planted.job(fit, alive, options=QUICK))
    assert len(rows) == 6
    assert all(math.isnan(row.values[0]) and "test clips have 1 class" in row.reason for row in rows)
    unknown = dataclasses.replace(fit, labels={"death": np.full(40, -1)})
    assert "training clips have 0 classes" in run(planted.job(unknown, test, options=QUICK))[0].reason


def test_an_outcome_of_three_values_is_refused():
    fit = patients(40, 0)
    three = dataclasses.replace(fit, labels={"death": np.arange(40) % 3})
    with pytest.raises(InputError, match="up to 2"):
        run(planted.job(three, options=QUICK))


def test_neither_outcome_is_refused(tmp_path):
    made, _ = months(4, 0)
    with pytest.raises(InputError, match=r"'death'.*'OT'"):
        run(planted.job(made))
    write(tmp_path / "train.npz", {"x": made.x})
    write(tmp_path / "test.npz", {"x": made.x})
    with pytest.raises(InputError, match="with month, expected"):
        run(planted.job(made, folder=tmp_path))


def test_oil_temperature_beside_the_constant_and_the_month(tmp_path):
    fit, test = months(36, 0), months(24, 1)
    job = planted.job(fit[0], test[0], folder=folder_of(tmp_path, fit, test), options={"runs": 1, "passes": 90})
    rows = run(job)
    model, constant, month, forest = rows
    assert [row.baseline for row in rows] == [False, True, True, True]
    assert {row.metric for row in rows} == {"mae"}
    # Two windows of ten hours a clip.
    assert model.count == 48
    means = [oil.reshape(-1, 2, 10).mean(2) for oil in (fit[1], test[1])]
    assert constant.values[0] == pytest.approx(np.abs(means[1] - np.median(means[0])).mean(), rel=1e-5)
    by_month = [np.median(means[0][m::12]) for m in range(12)]
    expected = np.abs(means[1] - np.array(by_month * 2)[:, None]).mean()
    assert month.values[0] == pytest.approx(expected, rel=1e-5)
    assert model.values[0] < 0.5 * constant.values[0]
    assert forest.values[0] < 0.8 * constant.values[0]


def test_as_published_the_heads_learn_a_constant(tmp_path):
    fit, test = months(36, 0), months(24, 1)
    options = {"runs": 1, "passes": 90}
    job = planted.job(fit[0], test[0], folder=folder_of(tmp_path, fit, test), options=options, as_published=True)
    model, constant, *_ = run(job)
    assert model.values[0] > 0.8 * constant.values[0]


def test_clips_in_the_models_units_are_known_again(tmp_path):
    fit, test = months(12, 0), months(12, 1)
    folder_of(tmp_path, fit, test)
    halved = [dataclasses.replace(part[0], x=part[0].x / 2) for part in (fit, test)]
    plain = run(planted.job(fit[0], test[0], folder=tmp_path, options=QUICK))
    scaled = run(planted.job(*halved, folder=tmp_path, options=QUICK, back=lambda x, lengths: 2 * x))
    assert plain[1].values == scaled[1].values


def test_windows_of_a_day(tmp_path):
    fit, test = months(12, 0), months(12, 1)
    job = planted.job(fit[0], test[0], folder=folder_of(tmp_path, fit, test), options={**QUICK, "window": 5})
    assert run(job)[0].count == 48


def test_hours_that_are_not_known(tmp_path):
    fit, test = months(12, 0), months(12, 1)
    test[1][:, :10] = np.nan
    job = planted.job(fit[0], test[0], folder=folder_of(tmp_path, fit, test), options=QUICK)
    assert run(job)[0].count == 12
    test[1][:] = np.nan
    job = planted.job(fit[0], test[0], folder=folder_of(tmp_path / "none", fit, test), options=QUICK)
    assert all("no value of OT" in row.reason for row in run(job))


def test_temperatures_of_other_clips_are_refused(tmp_path):
    fit, test = months(12, 0), months(12, 1)
    folder_of(tmp_path, fit, test)
    for rows in (slice(6), slice(None, None, -1)):
        with pytest.raises(InputError, match="scored clips, all of them"):
            run(planted.job(fit[0], test[0].select(rows), folder=tmp_path))


def test_any_part_of_the_folder_may_be_scored(tmp_path):
    fit = months(12, 0)
    folder_of(tmp_path, fit, fit)
    # As many as in the training part, and with its labels: only the numbers tell which clips they are.
    val = months(12, 1)
    write(tmp_path / "val.npz", {"x": val[0].x, "OT": val[1], **val[0].labels})
    rows = run(planted.job(fit[0], val[0], folder=tmp_path, options=QUICK))
    median = np.median(fit[1].reshape(-1, 2, 10).mean(2))
    assert rows[1].values[0] == pytest.approx(np.abs(val[1].reshape(-1, 2, 10).mean(2) - median).mean(), rel=1e-5)


def test_months_that_are_not_there(tmp_path):
    fit, test = months(12, 0), months(12, 1)
    bare = [dataclasses.replace(part[0], labels={}) for part in (fit, test)]
    rows = run(planted.job(*bare, folder=folder_of(tmp_path, fit, test), options=QUICK))
    assert [math.isnan(row.values[0]) for row in rows] == [False, False, True, False]
    assert "'month'" in rows[2].reason


def test_with_a_model_and_padding():
    draw = np.random.default_rng(0)
    made = Clips(
        draw.normal(size=(24, 8, 6)).astype("f4"),
        lengths=draw.integers(2, 9, 24),
        mask=(draw.random((24, 8, 6)) < 0.3).astype("f4"),
        labels={"death": np.arange(24) % 2},
    )
    job = planted.job(made, model=planted.tiny(), options={"runs": 2, "passes": 1})
    first, second = run(job), run(dataclasses.replace(job, seed=1))
    assert all(0 <= row.values[0] <= 1 for row in first)
    assert len(merge([first, second])) == 6
    assert [row.values for row in run(job)] == [row.values for row in first]
