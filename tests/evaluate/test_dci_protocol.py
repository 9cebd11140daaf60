"""The dci protocol on clips whose labels are painted in, and on codes that say nothing."""

import math

import numpy as np
import protocol_jobs as jobs
import pytest

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.evaluate.protocols import protocol
from diffsda.evaluate.result import merge

LABELS = (*jobs.STATIC, *jobs.DYNAMIC)


def many():
    """The painted clips, four times over: enough to hold some out."""
    return jobs.painted().select(np.tile(np.arange(96), 4))


def run(test=None, **more):
    options = {"trees": 8, **more.pop("options", {})}
    return protocol("dci").run(jobs.job(jobs.Swapper("mixed"), test=test or many(), options=options, **more))


def test_factors_that_hold_a_label_a_dimension_are_perfect():
    rows = run()
    got = jobs.values(rows)
    assert {got[f"explicitness_{name}"] for name in LABELS} == {1.0}
    for metric in ("modularity", "compactness", "explicitness", "importance_static_in_s", "importance_dynamic_in_d"):
        assert got[metric] == pytest.approx(1.0, abs=1e-9), metric
    assert jobs.one(rows, "modularity").count == 77  # a fifth of 384


def test_baselines_stand_beside_it():
    rows = run()
    others = jobs.values(rows, baseline=True, about="other clips")
    for name in LABELS:
        assert others[f"explicitness_{name}"] < 0.75
        (guess,) = [r for r in rows if r.metric == f"explicitness_{name}" and "commonest" in r.about]
        assert 0.2 < guess.values[0] < 0.7
    assert others["modularity"] < 0.5
    features = jobs.values(rows, baseline=True, about="features")
    assert features["explicitness_head"] > 0.9
    assert features["explicitness"] > 0.9


def test_wrong_way_round_shows():
    rows = run(static=jobs.DYNAMIC, dynamic=jobs.STATIC)
    got = jobs.values(rows)
    assert got["importance_static_in_s"] == pytest.approx(0.0, abs=1e-9)
    assert got["importance_dynamic_in_d"] == pytest.approx(0.0, abs=1e-9)
    assert got["modularity"] == pytest.approx(1.0, abs=1e-9)


def test_wide_factors_are_narrowed():
    rows = run(options={"width": 1})
    # What is told of it is the same, so that models of other sizes stand in one table.
    assert merge([rows, run()])
    assert jobs.values(rows)["explicitness_sex"] < 1.0


def test_codes_that_never_vary_have_no_score():
    x = np.zeros((30, 4, 3, 8, 8), np.float32)
    draw = np.random.default_rng(0)
    test = Clips(x, labels={name: draw.integers(0, 2, 30) for name in ("sex", "action")})
    rows = run(test, static=("sex",), dynamic=("action",))
    for metric in ("modularity", "compactness", "explicitness", "explicitness_sex", "importance_static_in_s"):
        row = jobs.one(rows, metric)
        assert math.isnan(row.values[0])
        assert "no dimension is of importance" in row.reason
    (guess,) = [r for r in rows if r.metric == "explicitness_sex" and "commonest" in r.about]
    assert 0 < guess.values[0] <= 1


def test_labels_that_cannot_be_told_have_a_row_that_says_why():
    test = many()
    path = np.arange(len(test) * 4).reshape(-1, 4) % 3
    labels = {**test.labels, "path": path, "planet": np.zeros(len(test), int)}
    rows = run(Clips(test.x, labels=labels), static=("sex", "planet"), dynamic=("action", "path"))
    for name, words in (("path", "changes within"), ("planet", "1 classes")):
        row = jobs.one(rows, f"explicitness_{name}")
        assert math.isnan(row.values[0])
        assert words in row.reason
    assert jobs.values(rows)["explicitness_sex"] == 1.0


def test_seeds_give_the_same_rows():
    runs = [run(options={"count": 60, "trees": 2}, seed=seed) for seed in (0, 1)]
    merged = merge(runs)
    assert all(len(row.values) == 2 for row in merged)
    again = run(options={"count": 60, "trees": 2}, seed=1)
    assert [row.values for row in again] == [row.values for row in runs[1]]


def test_too_few_labels_are_refused():
    with pytest.raises(InputError, match=r"got sex .*expected two"):
        run(static=("sex",), dynamic=())
    with pytest.raises(InputError, match="got 'colour'"):
        run(static=("colour",))
