"""One clip as a row of pictures; several clips (original, reconstruction, swap) as rows to compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.report import mosaic
from diffsda.report.canvas import CMAP, COLOURS, blank, save, style
from diffsda.report.picture import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["save", "strip"]


def strip(
    x: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    titles: Sequence[str] | None = None,
    lines: bool = False,
    limits: tuple[float, float] | None = None,
    most: int | None = 12,
    unit: str = "value",
    rate: float | None = None,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw one clip, or several under each other on one scale.

    Video is drawn as its frames side by side, at most ``most`` of them, evenly spaced and numbered;
    vectors as a heat-strip (time to the right, features upwards) or, with ``lines``, as one line a feature.

    Shapes: x (V, F) or (V, C, H, W), one clip; (N, V, F) or (N, V, C, H, W), several; lengths (N,) or a
    number for one clip. ``limits`` are the values drawn darkest and brightest (default: 0 to 255 for bytes,
    else the extremes shown), ``unit`` names them. ``rate`` in frames a second gives vectors an axis in
    seconds; ``names`` (F,) name the lines.
    Raises: InputError if shapes, lengths, titles or names do not fit, or lines are asked of video.
    """
    x = np.asarray(x)
    if x.ndim in (2, 4):
        x, lengths = x[None], None if lengths is None else np.atleast_1d(lengths)
    rows = mosaic.clips(x, lengths, "strip")
    titles = [""] * len(rows) if titles is None else [titles] if isinstance(titles, str) else list(titles)
    if len(titles) != len(rows):
        raise InputError(f"strip: got {len(titles)} titles, expected {len(rows)}, one a clip")
    scale = mosaic.limits(rows, limits)
    video = rows[0].ndim == 4
    if video and lines:
        raise InputError("strip: lines were asked of video, expected vectors (V, F)")
    if names is not None and (not lines or len(names) != rows[0].shape[1]):
        raise InputError(f"strip: got {len(names)} names, expected lines and one name for each feature")
    with style():
        if video:
            return _video(rows, titles, scale, most)
        return _vectors(rows, titles, scale, lines, unit, rate, names)


def _video(rows: list[mosaic.Array], titles: list[str], scale: tuple[float, float], most: int | None) -> Figure:
    longest = max(len(row) for row in rows)
    frames = mosaic.chosen(longest, most)
    cells = [[mosaic.film(row[frames[frames < len(row)]], scale)] for row in rows]
    picture, middles, _ = mosaic.lay(cells, gap=max(2, rows[0].shape[2] // 16))
    wide = rows[0].shape[3]
    figure, axes = show(picture)
    axes.set_yticks(middles if any(titles) else [], titles if any(titles) else [], parse_math=False)
    axes.set_xticks(np.arange(len(frames)) * (wide + 1) + (wide - 1) / 2, [str(v) for v in frames])
    some = "" if len(frames) == longest else f" ({len(frames)} of {longest} shown)"
    axes.set_xlabel(f"frame{some}")
    return figure


def _vectors(
    rows: list[mosaic.Array],
    titles: list[str],
    scale: tuple[float, float],
    lines: bool,
    unit: str,
    rate: float | None,
    names: Sequence[str] | None,
) -> Figure:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    figure = blank(7.5, 0.7 + 1.7 * len(rows))
    panels = figure.subplots(len(rows), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    step = 1.0 if rate is None else 1.0 / rate
    for axes, row, title in zip(panels, rows, titles, strict=True):
        if lines:
            _lines(axes, row, step, scale, unit, names)
        else:
            _heat(axes, row, step, scale)
        axes.set_title(title, loc="left", parse_math=False)
    longest, features = max(len(row) for row in rows), rows[0].shape[1]
    panels[-1].set_xlim(-0.5 * step, (longest - 0.5) * step)
    panels[-1].set_xlabel("frame" if rate is None else "time (s)")
    if rate is None:
        panels[-1].xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    if lines and 1 < features <= len(COLOURS):
        handles = panels[0].get_legend_handles_labels()
        legend = figure.legend(*handles, loc="outside upper right", ncols=min(features, 4))
        for text in legend.get_texts():
            text.set_parse_math(False)
    elif features > 1 or not lines:
        ends, name = (Normalize(0, features - 1), "feature") if lines else (Normalize(*scale), unit)
        bar = figure.colorbar(ScalarMappable(ends, CMAP), ax=list(panels), pad=0.02, fraction=0.05)
        bar.set_label(name, parse_math=False)
    return figure


def _heat(axes: Axes, row: mosaic.Array, step: float, scale: tuple[float, float]) -> None:
    """Draw values by colour, the middle of a frame at its time."""
    from matplotlib.ticker import MaxNLocator

    ends = (-0.5 * step, (len(row) - 0.5) * step, -0.5, row.shape[1] - 0.5)
    look: dict[str, Any] = {"cmap": CMAP, "vmin": scale[0], "vmax": scale[1], "interpolation": "nearest"}
    axes.imshow(row.T, aspect="auto", origin="lower", extent=ends, **look)
    axes.set_ylabel("feature")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))


def _lines(
    axes: Axes,
    row: mosaic.Array,
    step: float,
    scale: tuple[float, float],
    unit: str,
    names: Sequence[str] | None,
) -> None:
    """Draw one line a feature: told apart by name where few, by the colour scale where many."""
    import matplotlib

    features = row.shape[1]
    shades = matplotlib.colormaps[CMAP](np.linspace(0, 0.95, features))
    for f in range(features):
        colour = COLOURS[f] if features <= len(COLOURS) else shades[f]
        name = f"feature {f}" if names is None else str(names[f])
        axes.plot(np.arange(len(row)) * step, row[:, f], color=colour, linewidth=1.4, label=name)
    margin = 0.05 * (scale[1] - scale[0])
    axes.set_ylim(scale[0] - margin, scale[1] + margin)
    axes.set_ylabel(unit, parse_math=False)
    axes.grid(True)
