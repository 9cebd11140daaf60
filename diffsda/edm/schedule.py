"""Noise levels for sampling and encoding, and the solver's coefficients, in float64 on the host."""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffsda.edm.precondition import Precondition
from diffsda.errors import InputError
from diffsda.recipe import Sampling

INVERSION_START = 1e-5
"""Level stochastic encoding starts from instead of 0 (the authors' code)."""


@dataclass(frozen=True)
class Step:
    """One interval of Heun's method with the algebra collapsed.

    With u the clean-scaled input, F = F(c_in x; level) and F' = F(c_in' x'; next level):
    x' = a x + b F, and where a correction is due x_next = A x + B F + G F'. Both are exact rewritings of
    Heun's method over D = c_skip x + c_out F; neither D nor a slope is ever formed, which also spares the
    cancellation in (x - D) / sigma at small sigma.
    """

    level: int
    c_in: float
    a: float
    b: float
    correction: tuple[int, float, float, float, float] | None
    """(level, c_in, A, B, G) of the second evaluation; None for a plain Euler step."""
    churn: float = 0.0
    """Standard deviation of fresh noise added before the step."""


@dataclass(frozen=True)
class Plan:
    """A whole trajectory: the distinct noise levels and the steps between them."""

    levels: tuple[float, ...]
    steps: tuple[Step, ...]

    @property
    def evaluations(self) -> int:
        """Number of network evaluations."""
        return sum(1 if s.correction is None else 2 for s in self.steps)


def sigmas(sampling: Sampling) -> tuple[float, ...]:
    """Return the T levels from sigma_max down to sigma_min, and the final 0.

    sigma_i = (sigma_max^(1/rho) + i / (T - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho
    Source: Karras et al. 2022, Eq. 5.
    Raises: InputError for fewer than 2 steps.
    """
    steps, rho = sampling.steps, sampling.rho
    if steps < 2:
        raise InputError(f"steps: got {steps}, expected at least 2 (a step to sigma_min and one to 0)")
    high, low = sampling.sigma_max ** (1 / rho), sampling.sigma_min ** (1 / rho)
    return (*((high + i / (steps - 1) * (low - high)) ** rho for i in range(steps)), 0.0)


def sampling_plan(sampling: Sampling, precondition: Precondition | None) -> Plan:
    """Plan the way from noise to a clip: 2T - 1 evaluations.

    ``precondition`` None plans for a callable that returns the denoised clip itself instead of F.
    Source: DiffSDA Algorithm 1, EDM Algorithm 2. Differs: the paper's Algorithm 1 has sign slips in the churn
    (sqrt(t^2 - t_hat^2) with t_hat >= t); churn here is EDM's.
    """
    path = sigmas(sampling)
    factor = min(sampling.S_churn / sampling.steps, math.sqrt(2) - 1)
    gammas = [factor if sampling.S_min <= s <= sampling.S_max else 0.0 for s in path[:-1]]
    return _plan(path, gammas, sampling.S_noise, precondition)


def inversion_plan(sampling: Sampling, precondition: Precondition | None) -> Plan:
    """Plan the way from a clip to noise (stochastic encoding): 2T - 1 evaluations, no churn.

    Source: DiffSDA Algorithm 2. Differs: the paper starts from a sample around the clip and lists churn; the
    authors' code, which we match, starts from the clean clip at level 1e-5 and ends with an Euler step.
    """
    path = (INVERSION_START, *sigmas(sampling)[-2::-1])
    return _plan(path, [0.0] * (len(path) - 1), 0.0, precondition)


def _plan(path: tuple[float, ...], gammas: list[float], noise: float, precondition: Precondition | None) -> Plan:
    levels: list[float] = []

    def row(sigma: float) -> int:
        if sigma not in levels:
            levels.append(sigma)
        return levels.index(sigma)

    steps = []
    for i, (sigma, following, gamma) in enumerate(zip(path[:-1], path[1:], gammas)):
        hat = sigma * (1 + gamma)
        churn = noise * math.sqrt(hat**2 - sigma**2) if gamma else 0.0
        step = following - hat
        p, q, c_in = _slope(hat, precondition)
        a, b = 1 + step * p, step * q
        correction = None
        if i < len(path) - 2:
            p2, q2, c_in2 = _slope(following, precondition)
            half = step / 2
            correction = (row(following), c_in2, 1 + half * (p + p2 * a), half * (q + p2 * b), half * q2)
        steps.append(Step(row(hat), c_in, a, b, correction, churn))
    return Plan(tuple(levels), tuple(steps))


def _slope(sigma: float, precondition: Precondition | None) -> tuple[float, float, float]:
    """Write dx/dsigma = (x - D) / sigma as p x + q F; return p, q and c_in."""
    if precondition is None:
        return 1 / sigma, -1 / sigma, 1.0
    total = sigma**2 + precondition.sigma_data**2
    return sigma / total, -precondition.sigma_data / math.sqrt(total), 1 / math.sqrt(total)
