"""DiViD's diffusion: how much signal is left after each step, noise in, and DDIM both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsda.baselines.divid.settings import DiViDSettings
from diffsda.errors import InputError
from diffsda.prior.diffusion import Array, Move, follow, spaced

Predict = Callable[[Tensor, int], Tensor]
"""Given z and a diffusion step t, predict the noise in z."""
Progress = Callable[[Iterable[Any]], Iterable[Any]]


def signal(settings: DiViDSettings) -> Array:
    """Return the share of the variance that is signal after each step (T,), in float64.

    Source: the cosine schedule of Nichol and Dhariwal 2021 (their Eq. 17), the linear one of Ho et al. 2020.
    """
    steps = settings.steps
    if settings.schedule == "cosine":
        place = (np.arange(steps + 1) / steps + settings.offset) / (1 + settings.offset)
        left = np.cos(place * np.pi / 2) ** 2
        betas = np.minimum(1 - left[1:] / left[:-1], settings.most_beta)
    else:
        betas = np.linspace(settings.first_beta, settings.last_beta, steps)
    level: Array = np.cumprod(1 - betas)
    return level


def noised(x: Tensor, t: Tensor, noise: Tensor, level: Array) -> Tensor:
    """Return clips with unit noise added up to step t of each clip.

    Shapes: x (B, V, ...), t (B,), noise like x or (B, 1, ...) for all frames of a clip alike -> like x.
    Source: DiViD Eq. 1.
    """
    table = torch.from_numpy(np.sqrt([level, 1 - level])).to(x.device, x.dtype)  # (2, T)
    keep, add = table[:, t].reshape(2, len(x), *(1,) * (x.ndim - 1))
    return keep * x + add * noise


def first_step(settings: DiViDSettings, level: Array) -> int:
    """Return the step sampling starts from: the last with ``least_signal``."""
    enough = np.flatnonzero(level >= settings.least_signal)
    if not len(enough):
        raise InputError(
            f"least_signal: got {settings.least_signal:g}, no step has as much; expected at most {level[0]:g}"
        )
    return int(enough[-1])


def chosen_steps(settings: DiViDSettings, level: Array, steps: int | None = None) -> list[int]:
    """Return the diffusion steps of a plan, ascending; as many as there are where more are asked for.

    Raises: InputError for steps that are not from 1 to T.
    """
    count = settings.sampling_steps if steps is None else steps
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= settings.steps:
        raise InputError(f"steps: got {count!r}, expected a whole number from 1 to {settings.steps}")
    available = first_step(settings, level) + 1
    return spaced(available, min(count, available))


def sampling_plan(settings: DiViDSettings, level: Array, steps: int | None = None) -> tuple[Move, ...]:
    """Return the way from unit noise to clips, without new noise on it.

    Source: DDIM (Song et al. 2021) Eq. 12 with sigma 0.
    """
    chosen = chosen_steps(settings, level, steps)
    below = [1.0, *(float(level[t]) for t in chosen[:-1])]
    moves = [_move(t, float(level[t]), to) for t, to in zip(chosen, below)]
    return tuple(reversed(moves))


def inversion_plan(settings: DiViDSettings, level: Array, steps: int | None = None) -> tuple[Move, ...]:
    """Return the way from clips to the noise that leads to them.

    Source: DDIM section 4.3, the same equation towards more noise.
    """
    chosen = chosen_steps(settings, level, steps)
    reached = [1.0, *(float(level[t]) for t in chosen)]
    seen = [0, *chosen[:-1]]
    return tuple(_move(t, a, b) for t, a, b in zip(seen, reached[:-1], reached[1:]))


def run(
    predict: Predict,
    z: Tensor,
    moves: tuple[Move, ...],
    level: Array,
    bound: float | None = None,
    progress: Progress = iter,
) -> Tensor:
    """Follow a plan from z; ``bound`` holds the clean clips that a prediction amounts to within plus and minus it.

    ``progress`` is handed the moves and gives them back one by one, to show how far it is.
    """

    def bounded(z: Tensor, number: int) -> Tensor:
        t = moves[number].t
        noise = predict(z, t)
        if bound is None:
            return noise
        keep, add = float(np.sqrt(level[t])), float(np.sqrt(1 - level[t]))
        clean = ((z - add * noise) / keep).clamp(-bound, bound)
        return (z - keep * clean) / add

    return follow(bounded, z, moves, progress=progress)


def _move(t: int, here: float, there: float) -> Move:
    keep = np.sqrt(there / here)
    return Move(t, float(keep), float(np.sqrt(1 - there) - keep * np.sqrt(1 - here)))
