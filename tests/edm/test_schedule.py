"""Noise levels and the solver's coefficients."""

from itertools import pairwise

import numpy as np
import pytest

from diffsda.edm.precondition import Precondition
from diffsda.edm.schedule import INVERSION_START, inversion_plan, sampling_plan, sigmas
from diffsda.errors import InputError
from diffsda.recipe import Sampling

EDM = Precondition(0.5)


@pytest.mark.parametrize("steps", [16, 18, 24, 32, 36])
def test_levels_are_the_recorded_ones(steps, golden):
    with np.load(golden / "schedules.npz") as lists:
        np.testing.assert_allclose(sigmas(Sampling(steps=steps)), lists[f"sigmas_T{steps}"], rtol=1e-13, atol=0)


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_levels_fall_from_largest_to_smallest_to_zero(rho):
    path = sigmas(Sampling(steps=9, sigma_min=0.01, sigma_max=10.0, rho=rho))
    assert len(path) == 10
    assert path[0] == pytest.approx(10)
    assert path[-2] == pytest.approx(0.01)
    assert path[-1] == 0
    assert all(a > b for a, b in pairwise(path))
    if rho == 1:
        np.testing.assert_allclose(np.diff(path[:-1]), -9.99 / 8)


@pytest.mark.parametrize("steps", [2, 3, 16, 18, 32, 36])
@pytest.mark.parametrize("plan", [sampling_plan, inversion_plan])
def test_evaluations_and_levels(plan, steps):
    made = plan(Sampling(steps=steps), EDM)
    assert made.evaluations == 2 * steps - 1
    assert len(made.steps) == steps
    # One row of conditioning a level, the last (0, or sigma_max) never evaluated on the way up.
    assert len(made.levels) == steps
    assert len(set(made.levels)) == len(made.levels)
    assert [s.correction is None for s in made.steps] == [False] * (steps - 1) + [True]


def test_inversion_climbs_the_same_levels_from_almost_zero():
    sampling = Sampling(steps=6)
    up = inversion_plan(sampling, EDM)
    visited = [up.levels[s.level] for s in up.steps]
    assert visited[0] == INVERSION_START == 1e-5
    assert visited[1:] == list(sigmas(sampling)[-2:0:-1])
    assert all(s.churn == 0 for s in inversion_plan(Sampling(steps=6, S_churn=5.0), EDM).steps)


def test_churn_is_edm_s():
    path = sigmas(Sampling(steps=8))
    gamma = min(4.0 / 8, 2**0.5 - 1)
    plan = sampling_plan(Sampling(steps=8, S_churn=4.0, S_min=0.05, S_max=50.0, S_noise=1.003), EDM)
    assert plan.evaluations == 15
    for step, sigma in zip(plan.steps, path[:-1], strict=True):
        raised = sigma * (1 + gamma) if 0.05 <= sigma <= 50.0 else sigma
        assert plan.levels[step.level] == pytest.approx(raised)
        assert step.churn == pytest.approx(1.003 * (raised**2 - sigma**2) ** 0.5)
    assert plan.steps[0].churn == 0
    assert plan.steps[-1].churn == 0
    assert plan.steps[3].churn > 0


def test_one_step_is_refused():
    with pytest.raises(InputError, match="at least 2"):
        sigmas(Sampling(steps=1))
