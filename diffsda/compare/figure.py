"""The same swaps by every system, side by side, with what they should be where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.errors import InputError
from diffsda.report import mosaic
from diffsda.report.canvas import style
from diffsda.report.picture import key, letters, magnified, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 4
"""Frames of a video that are shown."""


def compare_figure(columns: Sequence[tuple[str, Sequence[Any]]], *, real: int = 2, unit: str = "value") -> Figure:
    """Draw clips in columns: donors, every system's swap, the truth; a row a pair, all on one colour scale.

    columns: title and clips, each (V, C, H, W) or (V, F), as many in every column.
    real: how many of the columns, from the first, set the scale: a system that is far off must not hide the others.
    Raises: InputError for columns of different heights, or none.
    """
    counts = {len(held) for _, held in columns}
    if len(counts) != 1 or 0 in counts:
        raise InputError(f"figure: got columns of {sorted(counts)} clips, expected as many in each, one at least")
    checked = [[mosaic.clips(np.asarray(clip)[None], None, title)[0] for clip in held] for title, held in columns]
    every = [clip for held in checked for clip in held]
    video = every[0].ndim == 4
    donors = [clip for held in checked[:real] for clip in held]
    scale = mosaic.limits(donors, (-1.0, 1.0) if video else None)
    gap = max(3, every[0].shape[-1] // 6) if video else 3
    longest = max(len(clip) for clip in every)
    tall, wide = (1, 1) if video else (max(1, round(longest / every[0].shape[1] / 1.5)), 1)
    if not video and longest < every[0].shape[1]:
        wide = max(1, round(every[0].shape[1] / longest * 1.5))

    def paint(clip: mosaic.Array) -> mosaic.Pixels:
        if video:
            return mosaic.film(clip[mosaic.chosen(len(clip), MOST)], scale)
        return mosaic.heat(clip, scale, tall, wide)

    cells = [[paint(held[row]) for held in checked] for row in range(counts.pop())]
    with style():
        picture, middles, centres = mosaic.lay(cells, gap)
        figure, axes = show(picture)
        axes.set_yticks(middles, [f"pair {i + 1}" for i in range(len(cells))])
        axes.xaxis.tick_top()
        titles = [title for title, _ in columns]
        # Half a letter's height is about its width: titles that do not fit lean.
        room = min(np.diff(centres)) * magnified(picture) if len(centres) > 1 else np.inf
        lean = max(map(len, titles)) * 0.62 * letters(picture) * 150 / 72 > room
        slant: dict[str, Any] = {"rotation": 35, "ha": "left", "rotation_mode": "anchor"} if lean else {}
        axes.set_xticks(centres, titles, parse_math=False, **slant)
        if video:
            some = f", {MOST} of up to {longest} shown" if longest > MOST else ""
            axes.set_xlabel(f"in each cell: frames from left to right{some}")
        else:
            axes.set_xlabel("in each cell: frames to the right, features upwards")
            key(figure, scale, unit)
    return figure
