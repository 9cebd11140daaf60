"""The diffusion of the latent prior: noise in, and ways back, each a plan of steps worked out beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.prior.recipe import Prior, Rule

Predict = Callable[[Tensor, int], Tensor]
"""Given z (N, M) and the number of a move in its plan, predict the noise in z."""
Array = np.ndarray[Any, np.dtype[np.floating[Any]]]
PUBLISHED_ETA = 0.01


@dataclass(frozen=True)
class Move:
    """One step of a plan: z' = keep * z + eps * network(z, t) + noise * fresh unit noise."""

    t: int
    keep: float
    eps: float
    noise: float = 0.0


def signal(recipe: Prior) -> Array:
    """Return the share of the variance that is signal after each step (steps,), in float64: the product of 1 - beta."""
    level: Array = np.cumprod(1 - np.linspace(*recipe.betas, recipe.steps))
    return level


def noised(z: Tensor, t: Tensor, eps: Tensor, level: Array) -> Tensor:
    """Return z (N, M) with unit noise eps added up to steps t (N,), for ``level`` as from ``signal``."""
    # Roots are taken in float64: near step 0, 1 - level has lost most digits of a float32.
    table = torch.from_numpy(np.sqrt([level, 1 - level])).to(z.dtype).to(z.device)[:, t, None]  # (2, N, 1)
    return table[0] * z + table[1] * eps


def sampling_plan(
    recipe: Prior, *, steps: int | None = None, rule: Rule | None = None, eta: float | None = None
) -> tuple[Move, ...]:
    """Return the way from unit noise to a sample; what is left open is the recipe's.

    ``ddim`` and ``ddpm`` take any number of steps, spaced evenly and always from the last diffusion step on.
    ``published`` takes all diffusion steps and is the authors' rule: what it reads at step t it takes to be at the
    level of t - 1, and leaves at the level of t - 2. Differs: their evaluation at t = 0, which changes nothing, is
    left out.
    Source: DDIM (Song et al.) Eq. 12 and 16; DDPM's ancestral step with the posterior variance.
    Raises: InputError for steps that are not from 1 to the recipe's, or other than all for ``published``.
    """
    rule, level = rule or recipe.rule, signal(recipe)
    count = steps if steps is not None else recipe.steps if rule == "published" else recipe.sampling_steps
    if rule not in ("ddim", "ddpm", "published"):
        raise InputError(f"rule: got {rule!r}, expected ddim, ddpm or published")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= recipe.steps:
        raise InputError(f"steps: got {count!r}, expected a whole number from 1 to the prior's {recipe.steps}")
    if rule == "published":
        if count != recipe.steps:
            raise InputError(f"steps: got {count} for the published rule, which takes all {recipe.steps}; use ddim")
        return _published(recipe, level, _eta(recipe, eta, PUBLISHED_ETA))
    share = 1.0 if rule == "ddpm" else _eta(recipe, eta, 0.0)
    chosen = spaced(recipe.steps, count)
    below = [1.0, *(float(level[t]) for t in chosen[:-1])]
    moves = [_towards(t, float(level[t]), to, share) for t, to in zip(chosen, below)]
    return tuple(reversed(moves))


def inversion_plan(recipe: Prior, *, steps: int | None = None, rule: Rule | None = None) -> tuple[Move, ...]:
    """Return the way from a sample to the noise it comes from (reverse DDIM); what is left open is the recipe's.

    ``published`` is the authors' rule: from step 1 to the last but one, z taken to be at the level before.
    Raises: InputError as ``sampling_plan``, and for ``ddpm``, which cannot be turned around.
    """
    rule, level = rule or recipe.rule, signal(recipe)
    if rule == "ddpm":
        raise InputError("rule: got ddpm, expected ddim or published: ancestral steps cannot be turned around")
    if rule == "published":
        sampling_plan(recipe, steps=steps, rule=rule)  # Refuses what it would refuse.
        levels = [float(v) for v in level]
        return tuple(_towards(t, levels[t - 1], levels[t], 0.0) for t in range(1, recipe.steps - 1))
    chosen = [move.t for move in reversed(sampling_plan(recipe, steps=steps, rule=rule, eta=0.0))]
    reached = [1.0, *(float(level[t]) for t in chosen)]
    seen = [0, *chosen[:-1]]
    return tuple(_towards(t, a, b, 0.0) for t, a, b in zip(seen, reached[:-1], reached[1:]))


def follow(
    predict: Predict,
    z: Tensor,
    moves: Sequence[Move],
    *,
    fresh: Callable[[], Tensor] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Tensor:
    """Go the moves of a plan from z (N, M); ``fresh`` draws unit noise like z where a move adds some."""
    for i, move in enumerate(progress(moves)):
        z = move.keep * z + move.eps * predict(z, i)
        if move.noise:
            if fresh is None:
                raise ValueError("the plan adds noise, expected a source of it in `fresh`")
            z = z + move.noise * fresh()
    return z


def spaced(steps: int, count: int) -> list[int]:
    """Return ``count`` of the diffusion steps, evenly spaced, ascending; the last one is always among them."""
    return [-(-(i + 1) * steps // count) - 1 for i in range(count)]


def _towards(t: int, here: float, there: float, eta: float) -> Move:
    """Return the DDIM move from one share of signal to another, upwards or downwards."""
    spread = eta * np.sqrt((1 - there) / (1 - here) * (1 - here / there)) if eta else 0.0
    return _move(t, here, there, spread)


def _published(recipe: Prior, level: Array, eta: float) -> tuple[Move, ...]:
    levels, betas = [1.0, *map(float, level)], np.linspace(*recipe.betas, recipe.steps)
    moves = []
    for t in range(recipe.steps - 1, 0, -1):
        here, there = levels[t], levels[t - 1]
        spread = eta * np.sqrt((1 - there) / (1 - here) * betas[t - 1])
        moves.append(_move(t, here, there, spread))
    return tuple(moves)


def _move(t: int, here: float, there: float, spread: float) -> Move:
    keep = np.sqrt(there / here)
    # An ancestral step onto clean factors leaves a rounding error below 0 under the root.
    eps = np.sqrt(max(0.0, 1 - there - spread**2)) - keep * np.sqrt(1 - here)
    return Move(t, float(keep), float(eps), float(spread))


def _eta(recipe: Prior, given: float | None, default: float) -> float:
    chosen = given if given is not None else recipe.eta if recipe.eta is not None else default
    if not 0 <= chosen <= 1:
        raise InputError(f"eta: got {chosen!r}, expected a share from 0 to 1")
    return float(chosen)
