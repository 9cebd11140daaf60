"""How training went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats, finite
from diffsda.report.canvas import COLOURS, blank, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def loss_curve(steps: ArrayLike, losses: ArrayLike, *, held_out: tuple[ArrayLike, ArrayLike] | None = None) -> Figure:
    """Draw the training loss over optimiser steps, with a running mean, and a held-out loss if there is one.

    An axis is logarithmic where its values are positive and span more than a decade. A loss that stopped
    being finite is marked where it did.

    Shapes: steps, losses (K,); held_out a pair of the same kind.
    Raises: InputError if the shapes do not fit or no loss is finite.
    """
    steps, losses = _pair(steps, losses, "loss curve")
    good = np.isfinite(losses)
    if not good.any():
        raise InputError(f"loss curve: none of {losses.size} losses is finite, expected at least one")
    with style():
        figure = blank(7.5, 4.0)
        axes = figure.subplots()
        shown_x, shown_y = steps[good], losses[good]
        window = max(1, len(shown_y) // 40)
        dots: dict[str, Any] = {"marker": "o", "markersize": 4} if len(shown_y) < 30 else {}
        pale = 1.0 if window == 1 else 0.3
        axes.plot(shown_x, shown_y, color=COLOURS[0], linewidth=1, alpha=pale, label="training", **dots)
        if window > 1:
            axes.plot(shown_x, _running(shown_y, window), color=COLOURS[0], linewidth=2, label="running mean")
        if held_out is not None:
            x, y = _pair(*held_out, "held-out loss curve")
            axes.plot(x, y, color=COLOURS[3], linestyle="--", marker="o", markersize=4, label="held out")
            shown_x, shown_y = np.append(shown_x, x), np.append(shown_y, y[np.isfinite(y)])
        if not good.all():
            axes.axvline(steps[~good][0], color=COLOURS[6], linestyle=":", label="first loss not finite")
        _finish(axes, shown_x, shown_y, "optimiser step", "loss")
        if len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend()
    return figure


def rate_curve(steps: ArrayLike, rates: ArrayLike) -> Figure:
    """Draw the learning rate over optimiser steps, on linear axes: schedules are read by their shape.

    Shapes: steps, rates (K,). Raises: InputError if they do not fit or are not finite.
    """
    steps, rates = _pair(steps, rates, "rate curve")
    finite(rates, "rate curve")
    with style():
        figure = blank(7.5, 3.0)
        axes = figure.subplots()
        axes.plot(steps, rates, color=COLOURS[0], linewidth=1.8)
        axes.set(xlabel="optimiser step", ylabel="learning rate", ylim=(0, 1.08 * max(rates.max(), 1e-12)))
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
        axes.grid(True)
    return figure


def term_curves(steps: ArrayLike, terms: Mapping[str, ArrayLike]) -> Figure:
    """Draw the terms of a loss over optimiser steps, each before its weight and in a panel of its own.

    Values that are not finite are left out.
    Shapes: steps and every term (K,). Raises: InputError if they do not fit, or a term has no finite value.
    """
    pairs = {name: _pair(steps, values, f"curve of {name}") for name, values in terms.items()}
    if not pairs:
        raise InputError("term curves: got no terms, expected at least one")
    with style():
        columns = min(3, len(pairs))
        rows = -(-len(pairs) // columns)
        figure = blank(2.5 * columns + 0.5, 2.2 * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, (x, y)) in zip(panels, pairs.items()):
            good = np.isfinite(y)
            if not good.any():
                raise InputError(f"curve of {name}: none of {y.size} values is finite, expected at least one")
            axes.plot(
                x[good], y[good], color=COLOURS[0], linewidth=1.2, marker="o" if good.sum() < 30 else "", markersize=3
            )
            axes.set_title(name.replace("_", " "))
            _finish(axes, x[good], y[good], "optimiser step", "")
            # A small panel has room for a few numbers only.
            axes.set_xscale("linear")
            axes.locator_params(axis="x", nbins=4)
        for axes in panels[len(pairs) :]:
            axes.set_visible(False)
    return figure


def _pair(x: ArrayLike, y: ArrayLike, name: str) -> tuple[Floats, Floats]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or x.shape != y.shape:
        raise InputError(f"{name}: got steps {x.shape} and values {y.shape}, expected both (K,) with K >= 1")
    return x, y


def _running(values: Floats, window: int) -> Floats:
    """Average over a centred window that shrinks towards both ends: no lag, no missing ends."""
    places = np.arange(len(values))
    half = np.minimum(np.minimum(places, places[::-1]), window // 2)
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[places + half + 1] - total[places - half]) / (2 * half + 1)


def _finish(axes: Axes, x: Floats, y: Floats, x_label: str, y_label: str) -> None:
    """Name the axes and make those logarithmic that need it."""
    for axis, values, scale in ((axes.xaxis, x, axes.set_xscale), (axes.yaxis, y, axes.set_yscale)):
        # Steps counted from 0 would lose their first point on a logarithmic axis, so they stay linear.
        if values.min() > 0 and values.max() > 10 * values.min():
            scale("log")
            _plain(axis, values)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(True, which="major")


def _plain(axis: Axis, values: Floats) -> None:
    """Write 0.2 and 1000, not 2 x 10^-1, on a logarithmic axis whose numbers are short that way."""
    if values.min() < 1e-4 or values.max() > 1e6:
        return
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    few = values.max() < 100 * values.min()
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if few and f"{value:e}"[0] in "25" else "")
