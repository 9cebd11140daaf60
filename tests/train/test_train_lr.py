"""Learning rate curves: the authors' as recorded, ours by their formulas."""

import math

import numpy as np
import pytest
from training_runs import clips, records, state_of, vector

from diffsda.errors import InputError
from diffsda.presets import preset
from diffsda.recipe import Optim
from diffsda.train.loop import Options, train
from diffsda.train.lr import authors_rate, rate


@pytest.mark.parametrize("epochs", [20, 100])
def test_authors_curve_is_the_recorded_one(golden, epochs):
    recorded = np.load(golden / "lr_schedule.npz")[f"lr_epochs{epochs}"]
    assert len(recorded) == epochs
    ours = [authors_rate(1e-4, epoch, epochs) for epoch in range(epochs)]
    np.testing.assert_allclose(ours, recorded, rtol=1e-12)


@pytest.mark.parametrize("epochs", [20, 100])
def test_authors_curve_holds_for_every_step_of_an_epoch(golden, epochs):
    recorded = np.load(golden / "lr_schedule.npz")[f"lr_epochs{epochs}"]
    optim = Optim(lr=1e-4, schedule="authors", epochs=epochs)
    ours = [rate(optim, step, steps=3 * epochs, steps_per_epoch=3) for step in range(3 * epochs)]
    np.testing.assert_allclose(ours, np.repeat(recorded, 3), rtol=1e-12)


def test_authors_curve_of_a_budget_that_ends_within_an_epoch():
    optim = Optim(lr=1.0, schedule="authors")
    ours = [rate(optim, step, steps=11, steps_per_epoch=4) for step in range(11)]
    assert ours == [1.0] * 4 + [2.0] * 4 + [1.0] * 3


def test_constant():
    optim = Optim(lr=0.5, schedule="constant")
    assert [rate(optim, step, steps=9, steps_per_epoch=3) for step in (0, 4, 8)] == [0.5] * 3


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_is_linear_and_never_zero(schedule):
    optim = Optim(lr=0.5, schedule=schedule, warmup=4)
    ours = [rate(optim, step, steps=100, steps_per_epoch=10) for step in range(5)]
    assert ours == [0.125, 0.25, 0.375, 0.5, 0.5]


def test_cosine_falls_from_the_rate_to_almost_zero():
    optim = Optim(lr=2.0, schedule="cosine", warmup=10)
    ours = [rate(optim, step, steps=110, steps_per_epoch=7) for step in range(10, 110)]
    by_hand = [1 + math.cos(math.pi * n / 100) for n in range(100)]
    np.testing.assert_allclose(ours, by_hand, rtol=1e-12)
    assert ours[50] == pytest.approx(1.0)
    assert 0 < ours[-1] < 1e-3


def test_a_warm_up_longer_than_the_budget_stays_finite():
    optim = Optim(lr=1.0, schedule="cosine", warmup=10)
    assert [rate(optim, step, steps=3, steps_per_epoch=3) for step in range(3)] == pytest.approx([0.1, 0.2, 0.3])


def test_the_curve_is_what_the_optimiser_gets(tmp_path):
    recipe = vector(schedule="authors", epochs=4, steps=None, lr=1e-3)
    seen = []
    result = train(recipe, clips(recipe, 8), tmp_path / "run", Options(log_every=1), progress=lambda *a: seen.append(a))
    assert result.step == 8, "2 steps an epoch, 4 epochs"
    curve = [authors_rate(1e-3, epoch, 4) for epoch in (0, 0, 1, 1, 2, 2, 3, 3)]
    assert [values["lr"] for _, _, values in seen] == curve
    assert [record["lr"] for record in records(tmp_path / "run")] == [float(f"{lr:.6g}") for lr in curve]
    state = state_of(tmp_path / "run")
    assert state["optimizer"]["param_groups"][0]["lr"] == curve[-1]


def test_an_unknown_schedule_is_refused():
    with pytest.raises(InputError, match=r"schedule"):
        preset("tiny_vector").replace(optim={"schedule": "linear"})
