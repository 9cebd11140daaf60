"""How training went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats
from diffsda.report.canvas import COLOURS, blank, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def loss_curve(
    steps: ArrayLike, losses: ArrayLike, *, held_out: tuple[ArrayLike, ArrayLike] | None = None
) -> Figure:
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
            mean = np.convolve(shown_y, np.ones(window) / window, mode="valid")
            label = f"mean of {window} records"
            axes.plot(shown_x[window - 1 :], mean, color=COLOURS[0], linewidth=2, label=label)
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
    """Draw the learning rate over optimiser steps, logarithmic where it spans more than a decade.

    Shapes: steps, rates (K,). Raises: InputError if they do not fit.
    """
    steps, rates = _pair(steps, rates, "rate curve")
    with style():
        figure = blank(7.5, 3.0)
        axes = figure.subplots()
        axes.plot(steps, rates, color=COLOURS[0], linewidth=1.8)
        _finish(axes, steps, rates, "optimiser step", "learning rate")
        if axes.get_yscale() == "linear":
            axes.set_ylim(bottom=0)
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    return figure


def _pair(x: ArrayLike, y: ArrayLike, name: str) -> tuple[Floats, Floats]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or x.shape != y.shape:
        raise InputError(f"{name}: got steps {x.shape} and values {y.shape}, expected both (K,) with K >= 1")
    return x, y


def _finish(axes: Axes, x: Floats, y: Floats, x_label: str, y_label: str) -> None:
    """Name the axes and make those logarithmic that need it."""
    for values, scale in ((x, axes.set_xscale), (y, axes.set_yscale)):
        # Steps counted from 0 would lose their first point on a logarithmic axis, so they stay linear.
        if values.min() > 0 and values.max() > 10 * values.min():
            scale("log")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(True, which="major")
