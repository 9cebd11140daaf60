"""The traversal sheet: components down, alphas to the right, the clip as it is in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.report import mosaic
from diffsda.report.canvas import style
from diffsda.report.picture import key, letters, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sheet(
    walks: ArrayLike,
    alphas: Sequence[float],
    *,
    lengths: ArrayLike | None = None,
    titles: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    most: int | None = 3,
    unit: str = "value",
) -> Figure:
    """Draw walks along components, one a row, on one colour scale.

    Video shows at most ``most`` frames a cell, evenly spaced.
    Shapes: walks (R, A, V, ...), R rows of A alphas with frames (F,) or (C, H, W); lengths (R,). ``titles`` name rows.
    Source: the traversal figures of the paper (Fig. 2 and appendix H.6).
    Raises: InputError if shapes, alphas, lengths or titles do not fit each other.
    """
    walks = np.asarray(walks)
    if walks.ndim not in (4, 6) or walks.shape[1] != len(alphas) or not len(walks):
        raise InputError(f"sheet: got walks {walks.shape} for {len(alphas)} alphas, expected (rows, alphas, V, ...)")
    rows = len(walks)
    titles = [f"component {i + 1}" for i in range(rows)] if titles is None else list(titles)
    if len(titles) != rows:
        raise InputError(f"sheet: got {len(titles)} titles, expected {rows}, one a row")
    repeated = None if lengths is None else np.repeat(np.asarray(lengths), len(alphas))
    clips = mosaic.clips(walks.reshape(-1, *walks.shape[2:]), repeated, "sheet")
    scale = mosaic.limits(clips, limits)
    with style():
        return _draw(
            [clips[i * len(alphas) : (i + 1) * len(alphas)] for i in range(rows)], alphas, titles, scale, most, unit
        )


def _draw(
    rows: list[list[mosaic.Array]],
    alphas: Sequence[float],
    titles: Sequence[str],
    scale: tuple[float, float],
    most: int | None,
    unit: str,
) -> Figure:
    first = rows[0][0]
    video, longest = first.ndim == 4, max(len(clip) for row in rows for clip in row)
    if video:
        gap = max(3, first.shape[2] // 8)
        cells = [[mosaic.film(clip[mosaic.chosen(len(clip), most)], scale) for clip in row] for row in rows]
    else:
        # Few features over many frames, or the reverse, would make slivers: stretch towards 3 : 2.
        features = first.shape[1]
        tall, wide = max(1, round(longest / features / 1.5)), max(1, round(features / longest * 1.5))
        gap = max(2, round(max(features * tall, longest * wide) / 12))
        cells = [[mosaic.heat(clip, scale, tall, wide) for clip in row] for row in rows]
    picture, middles, centres = mosaic.lay(cells, gap)
    figure, axes = show(picture)
    axes.set_yticks(middles, titles, parse_math=False)
    axes.xaxis.tick_top()
    axes.set_xticks(centres, [f"{alpha:+g}" if alpha else "0" for alpha in alphas])
    some = "" if not video or most is None or longest <= most else f"; {most} of up to {longest} frames a cell"
    inside = "frames from left to right" if video else "frames to the right, features upwards"
    axes.set_xlabel(f"columns: alpha; in each cell: {inside}{some}", size=letters(picture))
    if not video:
        key(figure, scale, unit)
    return figure
