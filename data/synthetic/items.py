"""What all made clips share: a generator for every item, checked arguments, checked pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diffsda.data.check import Array
from diffsda.data.clip import Clips
from diffsda.errors import InputError


def generators(n: int, seed: int) -> Iterator[np.random.Generator]:
    """Yield one generator an item, decided by (seed, index) alone, so that n changes no item."""
    check_whole("n", n, 1)
    check_whole("seed", seed, 0)
    return (np.random.default_rng([seed, index]) for index in range(n))


def check_whole(name: str, value: int, least: int) -> None:
    """Raise InputError unless value is a whole number, at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name}: got {value!r}, expected a whole number >= {least}")


def smooth_curve(draw: np.random.Generator, frames: int) -> Array:
    """Draw a smooth curve (frames,) in -1..1: three slow sines of random weight and phase."""
    time = np.arange(frames) / frames
    weights, phases = draw.dirichlet(np.ones(3)), draw.uniform(0, 2 * np.pi, 3)
    rates = np.array([0.5, 1.0, 1.5])
    return (weights[:, None] * np.sin(2 * np.pi * rates[:, None] * time + phases[:, None])).sum(0)


def pair_factors(a: Clips, b: Clips, name: str) -> tuple[Array, Array]:
    """Return a's static (N, S) and b's dynamic factors (N, V, D) of clips made by the generator ``name``.

    Raises: InputError if either was made otherwise, or they differ in number or in the size of a frame.
    """
    for clips in (a, b):
        if clips.name != name or not {"static", "dynamic"} <= set(clips.factors):
            raise InputError(f"swap target: got clips of {clips.name!r}, expected two sets made by {name}")
    if len(a) != len(b) or a.x.shape[2:] != b.x.shape[2:]:
        raise InputError(f"swap target: got clips {a.x.shape} and {b.x.shape}, expected as many, of one frame size")
    return a.factors["static"], b.factors["dynamic"]
