"""Heun's method over a planned trajectory: one loop for sampling and for stochastic encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor

from diffsda.edm.schedule import Plan, Step


class Evaluate(Protocol):
    """Anything that evaluates the network: eager, compiled, a graph or an engine."""

    def __call__(self, scaled: Tensor, level: int) -> Tensor:
        """Return F for c_in * x at the plan's noise level of that index, shaped like x."""
        ...


def heun(
    evaluate: Evaluate,
    x: Tensor,
    plan: Plan,
    *,
    fresh: Callable[[], Tensor] | None = None,
    progress: Callable[[Iterable[Step]], Iterable[Step]] = iter,
) -> Tensor:
    """Follow the plan from x and return where it ends.

    Shapes: x any, with evaluate returning the same. ``fresh`` draws unit noise like x, needed only for churn.
    Precision: the state stays in x's dtype; coefficients are float64 on the host. Nothing in the loop waits
    for the device.
    Source: DiffSDA Algorithms 1 and 2; Karras et al. 2022, Algorithm 2.
    Raises: ValueError if the plan churns and no noise source is given.
    """
    for step in progress(plan.steps):
        if step.churn:
            if fresh is None:
                raise ValueError("heun: the plan adds noise (S_churn > 0), expected a source of it in `fresh`")
            x = x + step.churn * fresh()
        f = evaluate(x * step.c_in, step.level)
        if step.correction is None:
            x = torch.add(step.a * x, f, alpha=step.b)
            continue
        level, c_in, keep, first, second = step.correction
        scaled = torch.add((step.a * c_in) * x, f, alpha=step.b * c_in)
        f2 = evaluate(scaled, level)
        x = torch.add(torch.add(keep * x, f, alpha=first), f2, alpha=second)
    return x
