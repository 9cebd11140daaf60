"""What the values of PhysioNet 2012 can be: readings no body gives go, readings in another unit are turned back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffsda.data.check import Array


@dataclass(frozen=True)
class Rule:
    """Values between two bounds (both outside the range meant) are changed; without a change they are missing."""

    above: float = -np.inf
    below: float = np.inf
    change: Callable[[Array], Array] | None = None


def _drop(least: float | None = None, most: float | None = None) -> tuple[Rule, ...]:
    """Leave nothing below the least and above the most."""
    low = () if least is None else (Rule(below=least),)
    high = () if most is None else (Rule(above=most),)
    return low + high


RULES: dict[str, tuple[Rule, ...]] = {
    "DiasABP": _drop(1, 200),
    "SysABP": _drop(1),
    "MAP": _drop(1),
    "NIDiasABP": _drop(1),
    "NISysABP": _drop(1),
    "NIMAP": _drop(1),
    "HR": _drop(1, 299),
    "PaCO2": (*_drop(1), Rule(below=10, change=lambda x: x * 10)),
    "PaO2": (*_drop(1), Rule(below=20, change=lambda x: x * 10)),
    "pH": (
        Rule(above=0.65, below=0.8, change=lambda x: x * 10),
        Rule(above=65, below=80, change=lambda x: x * 0.1),
        Rule(above=650, below=800, change=lambda x: x * 0.01),
        *_drop(6.5, 8.0),
    ),
    # Single digits become what they would be in Fahrenheit and stay so, as the authors do it: 5 is taken for 41.
    "Temp": (
        Rule(above=1, below=10, change=lambda x: x * 9 / 5 + 32),
        Rule(above=95, below=113, change=lambda x: (x - 32) * 5 / 9),
        *_drop(25, 45),
    ),
    "RespRate": _drop(1),
    "WBC": _drop(1),
    "Weight": _drop(35, 299),
    # What is recorded once, on admission.
    "Age": (Rule(above=130, change=lambda x: np.full_like(x, 91.4)),),
    "Gender": _drop(0),
    "Height": (
        *_drop(0),
        Rule(below=10, change=lambda x: x * 100),
        Rule(below=25, change=lambda x: x * 10),
        Rule(below=100, change=lambda x: x * 2.2),
        Rule(above=1000, change=lambda x: x * 0.1),
        Rule(above=250, change=lambda x: x * 0.3937),
    ),
}
"""Parameter -> what is done to its values, in this order. Source: the authors' cleaning, after the 2012 challenge."""


def clean(parameter: str, values: Array) -> Array:
    """Return the values (N,) float64 of one parameter, NaN where they cannot be."""
    out = np.array(values, np.float64)
    for rule in RULES.get(parameter, ()):
        hit = (out > rule.above) & (out < rule.below)
        out[hit] = np.nan if rule.change is None else rule.change(out[hit])
    return out
