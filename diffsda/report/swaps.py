"""Draw the swap grid of the first few donors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.disentangler import Disentangler, StartNoise
from diffsda.firststage.clips import raw
from diffsda.report.canvas import save
from diffsda.report.grid import swap_grid
from diffsda.tasks.swap import pairs, swap

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

MOST = 6
"""Donors drawn of each kind."""


def draw_swaps(
    model: Disentangler,
    static: Clips,
    dynamic: Clips,
    path: str | Path,
    *,
    noise: StartNoise | None = None,
    steps: int | None = None,
    seed: int = 0,
    titles: tuple[Sequence[str], Sequence[str]] | None = None,
    back: Callable[[np.ndarray, np.ndarray | None], np.ndarray] | None = None,
    unit: str = "value",
    **provenance: Any,
) -> Path:
    """Swap the first donors of each kind with each other and draw the grid as a PNG.

    ``static`` and ``dynamic`` are in the model's units; ``back`` (clips, lengths) takes them to those of the figure,
    ``unit``: left out, those in which people brought clips that were whitened. ``noise``: None takes the model's own
    policy. ``provenance`` goes into the PNG's text with what is known here.
    Raises: InputError as ``swap``; SaveError if the figure cannot be written.
    """
    noise = noise or model.policy
    static, dynamic = static.select(slice(0, MOST)), dynamic.select(slice(0, MOST))
    giver, taker = pairs(len(static), len(dynamic), grid=True)
    x = swap(model, static.select(giver), dynamic.select(taker), noise=noise, steps=steps, seed=seed)
    lengths = None if dynamic.lengths is None else dynamic.lengths[taker]
    outside = back or (lambda x, lengths: raw(x, model.whitening, lengths))
    swaps = outside(x, lengths)
    swaps = swaps.reshape(len(static), len(dynamic), *swaps.shape[1:])
    figure = swap_grid(
        outside(static.x, static.lengths),
        outside(dynamic.x, dynamic.lengths),
        swaps,
        static_lengths=static.lengths,
        dynamic_lengths=dynamic.lengths,
        titles=titles,
        unit=unit,
    )
    return save(
        figure,
        path,
        recipe=model.recipe.digest,
        seed=seed,
        noise=noise,
        static=static.name,
        dynamic=dynamic.name,
        **provenance,
    )
