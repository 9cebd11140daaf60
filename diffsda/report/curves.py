"""How training went, and what the factors look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffsda.errors import InputError
from diffsda.evaluate.lengths import finite, mask, valid
from diffsda.report.canvas import COLOURS, MOST_LABELS, blank, groups, style

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
        dots = {"marker": "o", "markersize": 4} if len(shown_y) < 30 else {}
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


def static_scatter(static: ArrayLike, labels: ArrayLike, *, what: str = "label") -> Figure:
    """Draw static factors along their two directions of largest variance, coloured by label.

    Shapes: static (N, S), labels (N,). ``what`` names the labels. The axes say how much of the variance
    they hold; with S = 1 the second holds none.
    Raises: InputError if shapes do not fit, N < 2, or there are too many labels to tell apart.
    """
    static, labels = np.asarray(static, dtype=np.float64), np.asarray(labels)
    if static.ndim != 2 or len(static) < 2 or labels.shape != (len(static),):
        raise InputError(
            f"static scatter: got factors {static.shape}, labels {labels.shape}; expected (N, S), (N,), N >= 2"
        )
    points, shares = _principal(finite(static, "static scatter"))
    with style():
        figure = blank(7.5, 5.5)
        axes = figure.subplots()
        for name, rows, colour, marker, _ in groups(labels):
            axes.scatter(
                *points[rows].T, s=26, color=colour, marker=marker, alpha=0.75, linewidths=0, label=name
            )
        axes.set_xlabel(f"first principal direction of s ({shares[0]:.0%} of variance)")
        axes.set_ylabel(f"second ({shares[1]:.0%} of variance)")
        axes.grid(True)
        axes.set_aspect("equal", adjustable="datalim")
        _legend(figure, axes, what)
    return figure


def dynamic_curves(
    dynamic: ArrayLike,
    labels: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    what: str = "label",
    most: int = 4,
) -> Figure:
    """Draw dynamic factors over time: a thin line a clip and the mean of each label in bold.

    The ``most`` entries of d that vary most get a panel each. A mean is drawn as far as half of
    its clips reach.

    Shapes: dynamic (N, V, D), labels (N,), lengths (N,).
    Raises: InputError if shapes do not fit or there are too many labels to tell apart.
    """
    dynamic, labels = np.asarray(dynamic, dtype=np.float64), np.asarray(labels)
    if dynamic.ndim != 3 or dynamic.size == 0 or labels.shape != (len(dynamic),) or most < 1:
        raise InputError(
            f"dynamic curves: got factors {dynamic.shape}, labels {labels.shape}, {most} panels; "
            "expected (N, V, D), (N,) and at least one panel"
        )
    keep = mask(valid(lengths, dynamic.shape[0], dynamic.shape[1]), dynamic.shape[1])
    spread = finite(dynamic[keep], "dynamic curves").var(axis=0)
    entries = np.sort(np.argsort(-spread, kind="stable")[:most])
    values = np.where(keep[..., None], dynamic, np.nan)
    with style():
        figure = blank(7.5, 0.8 + 1.7 * len(entries))
        panels = figure.subplots(len(entries), 1, sharex=True, squeeze=False)[:, 0]
        for axes, entry in zip(panels, entries, strict=True):
            for name, rows, colour, _, dash in groups(labels):
                _trails(axes, values[rows, :, entry], keep[rows], colour, dash, name)
            axes.set_ylabel(f"d[{entry}]")
            axes.grid(True)
        panels[-1].set_xlabel("frame")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)
        _legend(figure, panels[0], what)
    return figure


def _trails(axes: Axes, values: NDArray, keep: NDArray, colour: str, dash: Any, name: str) -> None:
    """Draw the clips (n, V) of one label and their mean."""
    pale = max(0.08, min(0.5, 4 / len(values)))
    axes.plot(values.T, color=colour, linewidth=0.7, alpha=pale)
    reach = keep.mean(axis=0) >= 0.5
    mean = np.nanmean(values[:, reach], axis=0)
    axes.plot(np.nonzero(reach)[0], mean, color=colour, linestyle=dash, linewidth=2.2, label=name)


def _principal(x: NDArray) -> tuple[NDArray, NDArray]:
    """Return x (N, S) along its two main directions (N, 2) and the share of variance in each (2,)."""
    centred = x - x.mean(axis=0)
    left, size, right = np.linalg.svd(centred, full_matrices=False)
    # The sign of a direction is arbitrary; fix it, so that the same factors give the same figure.
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    points = np.pad(left * size * signs, ((0, 0), (0, 2)))[:, :2]
    energy = np.pad(size**2, (0, 2))[:2]
    return points, energy / max(float((size**2).sum()), np.finfo(float).tiny)


def _pair(x: ArrayLike, y: ArrayLike, name: str) -> tuple[NDArray, NDArray]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or x.shape != y.shape:
        raise InputError(f"{name}: got steps {x.shape} and values {y.shape}, expected both (K,) with K >= 1")
    return x, y


def _finish(axes: Axes, x: NDArray, y: NDArray, x_label: str, y_label: str) -> None:
    """Name the axes and make those logarithmic that need it."""
    for values, scale in ((x, axes.set_xscale), (y, axes.set_yscale)):
        # Steps counted from 0 would lose their first point on a logarithmic axis, so they stay linear.
        if values.min() > 0 and values.max() > 10 * values.min():
            scale("log")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(True, which="major")


def _legend(figure: Figure, axes: Axes, what: str) -> None:
    handles, names = axes.get_legend_handles_labels()
    columns = 1 if len(names) <= 14 else 2 if len(names) <= 28 else 3
    legend = figure.legend(handles, names, loc="outside right upper", title=what, ncols=columns)
    for text in [*legend.get_texts(), legend.get_title()]:
        text.set_parse_math(False)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
