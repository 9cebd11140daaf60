"""Heun's method in collapsed form against the same method as a textbook writes it, and against exact answers."""

import math
from itertools import pairwise

import pytest
import torch

from diffsda.edm.precondition import Precondition
from diffsda.edm.sampler import heun
from diffsda.edm.schedule import INVERSION_START, inversion_plan, sampling_plan, sigmas
from diffsda.recipe import Sampling

EDM = Precondition(0.5)


def bend(scaled, sigma):
    """Return an F that is neither linear nor diagonal."""
    return torch.tanh(2 * scaled.flip(-1) + 0.3 * math.log(sigma)) - 0.4 * torch.sin(scaled) * scaled.roll(1, 0)


def toy(x, sigma):
    """Return the denoised clip, with the coefficients written out again."""
    total = sigma**2 + 0.25
    return 0.25 / total * x + 0.5 * sigma / math.sqrt(total) * bend(x / math.sqrt(total), sigma)


def toy_network(plan):
    return lambda scaled, level: bend(scaled, plan.levels[level])


def textbook(denoise, x, path, churn=(), fresh=None):
    """Follow Heun's method over D in float64; ``churn`` raises the level of a step by that share."""
    churn = churn or [0.0] * (len(path) - 1)
    for i, (sigma, following) in enumerate(pairwise(path)):
        hat = sigma * (1 + churn[i])
        if churn[i]:
            x = x + math.sqrt(hat**2 - sigma**2) * fresh()
        slope = (x - denoise(x, hat)) / hat
        guess = x + (following - hat) * slope
        if i < len(path) - 2:
            slope = (slope + (guess - denoise(guess, following)) / following) / 2
            guess = x + (following - hat) * slope
        x = guess
    return x


def close(given, wanted, tolerance=1e-10):
    assert float((given - wanted).abs().max() / wanted.abs().max()) < tolerance


@pytest.mark.parametrize("steps", [2, 3, 18])
def test_collapsed_equals_textbook(steps):
    sampling, x = Sampling(steps=steps), torch.randn(4, 3, dtype=torch.float64)
    plan = sampling_plan(sampling, EDM)
    close(heun(toy_network(plan), 80 * x, plan), textbook(toy, 80 * x, sigmas(sampling)))
    up = inversion_plan(sampling, EDM)
    # (x - D) / sigma at 1e-5 loses five digits in the textbook's form, not in ours.
    close(heun(toy_network(up), x, up), textbook(toy, x, (INVERSION_START, *sigmas(sampling)[-2::-1])), 1e-9)


@pytest.mark.parametrize("plan", [sampling_plan, inversion_plan])
def test_a_callable_that_denoises_gives_the_same(plan):
    sampling, x = Sampling(steps=7), torch.randn(4, 3, dtype=torch.float64)
    direct, ours = plan(sampling, None), plan(sampling, EDM)
    given = heun(lambda scaled, level: toy(scaled, direct.levels[level]), x, direct)
    close(given, heun(toy_network(ours), x, ours), 1e-9)
    assert direct.evaluations == ours.evaluations == 13


def test_churn_equals_textbook():
    sampling, x = Sampling(steps=6, S_churn=3.0, S_min=0.01, S_max=40.0), torch.randn(4, 3, dtype=torch.float64)
    plan, path = sampling_plan(sampling, EDM), sigmas(sampling)

    def fresh():
        draw = torch.Generator().manual_seed(5)
        return lambda: torch.randn(4, 3, dtype=torch.float64, generator=draw)

    churn = [2**0.5 - 1 if 0.01 <= s <= 40 else 0.0 for s in path[:-1]]
    close(heun(toy_network(plan), 80 * x, plan, fresh=fresh()), textbook(toy, 80 * x, path, churn, fresh()))
    with pytest.raises(ValueError, match="fresh"):
        heun(toy_network(plan), x, plan)


class Counting:
    """An ideal network for Gaussian data, counting its calls."""

    def __init__(self, plan, deviation):
        self.plan, self.deviation, self.calls = plan, deviation, 0

    def __call__(self, scaled, level):
        self.calls += 1
        sigma = self.plan.levels[level]
        denoised = scaled * self.deviation**2 / (self.deviation**2 + sigma**2)
        assert self.plan.steps[0].c_in == 1  # planned for a callable that denoises
        return denoised


def gaussian(deviation, sampling, plan=sampling_plan, x=None):
    made = plan(sampling, None)
    ideal = Counting(made, deviation)
    x = torch.ones(1, 1, dtype=torch.float64) if x is None else x
    y = heun(ideal, x * (sampling.sigma_max if plan is sampling_plan else 1), made)
    assert ideal.calls == made.evaluations == 2 * sampling.steps - 1
    return y


def test_second_order_for_gaussian_data():
    """Data N(0, s^2): the path is x(sigma) = x(80) sqrt(s^2 + sigma^2) / sqrt(s^2 + 80^2), at sigma 0 too."""
    s, errors = 0.3, []
    for steps in (64, 128, 256, 512):
        # The last interval is a single Euler step however many there are: small enough not to matter here.
        sampling = Sampling(steps=steps, sigma_min=1e-5)
        exact = 80 * s / math.sqrt(s**2 + 80**2)
        errors.append(abs(float(gaussian(s, sampling)) - exact))
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert orders == pytest.approx([2, 2, 2], abs=0.15)
    assert errors[-1] < 1e-4


@pytest.mark.parametrize("deviation", [0.2, 0.5, 1.5])
def test_inversion_then_sampling_returns_the_clip(deviation):
    x = torch.randn(5, 3, dtype=torch.float64)
    far, near = [], []
    for steps, into in ((32, far), (256, near)):
        sampling = Sampling(steps=steps)
        code = gaussian(deviation, sampling, inversion_plan, x) / sampling.sigma_max
        into += [
            float((code - x / deviation).abs().max()),
            float((gaussian(deviation, sampling, x=code) - x).abs().max()),
        ]
    assert max(near) < 0.02
    assert near[1] < far[1] / 8
    assert near[1] < 1e-3


def test_float32_stays_float32_and_steps_can_be_watched():
    plan, seen = sampling_plan(Sampling(steps=4), EDM), []

    def watch(steps):
        for step in steps:
            seen.append(step)
            yield step

    y = heun(lambda scaled, level: scaled, torch.ones(2, 2), plan, progress=watch)
    assert y.dtype == torch.float32
    assert tuple(seen) == plan.steps
