"""The swap grid: what a clip lends, what it keeps, all at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.report import mosaic
from diffsda.report.canvas import DPI, style
from diffsda.report.picture import key, letters, magnified, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Titles = tuple[Sequence[str], Sequence[str]]


def swap_grid(
    static_donors: ArrayLike,
    dynamic_donors: ArrayLike,
    swaps: ArrayLike,
    *,
    static_lengths: ArrayLike | None = None,
    dynamic_lengths: ArrayLike | None = None,
    swap_lengths: ArrayLike | None = None,
    titles: Titles | None = None,
    limits: tuple[float, float] | None = None,
    most: int | None = 6,
    unit: str = "value",
) -> Figure:
    """Draw the grid: static donors down the first column, dynamic donors along the first row, and at (i, j)
    the swap that keeps the static factor of i and takes the dynamic factors of j.

    All cells share one colour scale. Video shows at most ``most`` frames a cell, evenly spaced.

    Shapes: static_donors (I, V, ...), dynamic_donors (J, W, ...), swaps (I, J, U, ...), each with frames
    (F,) or (C, H, W); lengths (I,), (J,) and (I, J). A swap is as long as the clip that lends its dynamics,
    so ``swap_lengths`` defaults to that. ``titles`` are I names of the static donors and J of the dynamic.
    Source: the swap figures of the paper.
    Raises: InputError if shapes, lengths or titles do not fit each other.
    """
    rows = mosaic.clips(static_donors, static_lengths, "grid, static donors")
    columns = mosaic.clips(dynamic_donors, dynamic_lengths, "grid, dynamic donors")
    swaps = np.asarray(swaps)
    count = (len(rows), len(columns))
    if swaps.shape[:2] != count or len({rows[0].shape[1:], columns[0].shape[1:], swaps.shape[3:]}) > 1:
        raise InputError(
            f"grid: got swaps {swaps.shape}, expected (I, J, frames, ...) with I = {count[0]} static and "
            f"J = {count[1]} dynamic donors, and frames of one shape, here {columns[0].shape[1:]}"
        )
    if swap_lengths is None and dynamic_lengths is not None:
        swap_lengths = np.broadcast_to(np.asarray(dynamic_lengths), count)
    flat = None if swap_lengths is None else np.asarray(swap_lengths).reshape(-1)
    made = mosaic.clips(swaps.reshape(-1, *swaps.shape[2:]), flat, "grid, swaps")
    names = _titles(titles, count)
    scale = mosaic.limits([*rows, *columns, *made], limits)
    body = [made[i * count[1] : (i + 1) * count[1]] for i in range(count[0])]
    cells: list[list[mosaic.Array | None]] = [[None, *columns]]
    cells += [[row, *line] for row, line in zip(rows, body, strict=True)]
    with style():
        return _draw(cells, names, scale, most, unit)


def _draw(
    cells: list[list[mosaic.Array | None]],
    names: Titles,
    scale: tuple[float, float],
    most: int | None,
    unit: str,
) -> Figure:
    every = [clip for row in cells for clip in row if clip is not None]
    longest, video = max(len(clip) for clip in every), every[0].ndim == 4
    frame = every[0].shape[1:]
    if video:
        gap = max(3, frame[1] // 6)

        def paint(clip: mosaic.Array) -> mosaic.Pixels:
            return mosaic.film(clip[mosaic.chosen(len(clip), most)], scale)

    else:
        # Few features over many frames, or the reverse, would make slivers: stretch towards 3 : 2.
        tall, wide = max(1, round(longest / frame[0] / 1.5)), max(1, round(frame[0] / longest * 1.5))
        gap = max(2, round(max(frame[0] * tall, longest * wide) / 12))

        def paint(clip: mosaic.Array) -> mosaic.Pixels:
            return mosaic.heat(clip, scale, tall, wide)

    painted = [[None if clip is None else paint(clip) for clip in row] for row in cells]
    picture, middles, centres = mosaic.lay(painted, gap)
    figure, axes = show(picture)
    _label(axes, names, middles, centres, picture)
    _rules(axes, painted, gap)
    if video:
        some = "" if most is None or longest <= most else f", {most} of up to {longest} shown"
        axes.set_xlabel(f"in each cell: frames from left to right{some}")
    else:
        axes.set_xlabel("in each cell: frames to the right, features upwards")
        key(figure, scale, unit)
    return figure


def _label(axes: Axes, names: Titles, middles: list[float], centres: list[float], picture: mosaic.Pixels) -> None:
    """Name the donors at their row and column, and say in the corner which is which."""
    size, corner = letters(picture), 2 * centres[0] + 0.5
    axes.set_yticks(middles[1:], names[0], parse_math=False)
    axes.xaxis.tick_top()
    room = float(np.diff(centres).min()) * magnified(picture)  # dots a column may take
    needed = max(len(name) for name in names[1]) * 0.62 * size * DPI / 72
    slant: dict[str, Any] = {"rotation": 35, "ha": "left", "rotation_mode": "anchor"} if needed > room else {}
    axes.set_xticks(centres[1:], names[1], parse_math=False, **slant)
    # Above the corner and to the left, where no cell and no name can be, however small the cells are.
    axes.annotate(
        "dynamics \u2192\nstatic \u2193",
        (corner, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        size=size,
    )


def _rules(axes: Axes, painted: list[list[mosaic.Pixels | None]], gap: int) -> None:
    """Part the donors from the swaps by two thin lines in the gaps."""
    wide = max(row[0].shape[1] for row in painted[1:] if row[0] is not None)
    high = max(cell.shape[0] for cell in painted[0] if cell is not None)
    axes.axvline(wide + (gap - 1) / 2, color="#444444", linewidth=1.2)
    axes.axhline(high + (gap - 1) / 2, color="#444444", linewidth=1.2)


def _titles(titles: Titles | None, count: tuple[int, int]) -> Titles:
    if titles is None:
        return [f"static {i + 1}" for i in range(count[0])], [f"dynamic {j + 1}" for j in range(count[1])]
    if len(titles) != 2 or (len(titles[0]), len(titles[1])) != count:
        raise InputError(
            f"grid: got titles {titles}, expected {count[0]} names of static donors and {count[1]} of dynamic"
        )
    return titles
