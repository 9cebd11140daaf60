"""What the factors of many clips look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Floats, finite, mask, valid
from diffsda.report.canvas import blank, groups, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def static_scatter(static: ArrayLike, labels: ArrayLike, *, what: str = "label") -> Figure:
    """Draw static factors along their two directions of largest variance, coloured by label.

    Shapes: static (N, S), labels (N,). ``what`` names the labels. The axes say how much of the variance
    they hold; with S = 1 the second holds none.
    Raises: InputError if shapes do not fit, N < 2, or there are too many labels to tell apart.
    """
    static, labels = np.asarray(static, dtype=np.float64), np.asarray(labels)
    if static.ndim != 2 or len(static) < 2 or labels.shape != (len(static),):
        raise InputError(f"static scatter: got factors {static.shape}, labels {labels.shape}; expected (N, S), (N,)")
    points, shares = _principal(finite(static, "static scatter"))
    with style():
        figure = blank(7.5, 5.5)
        axes = figure.subplots()
        for name, rows, colour, marker, _ in groups(labels):
            look: dict[str, Any] = {"color": colour, "marker": marker, "alpha": 0.75, "linewidths": 0}
            axes.scatter(points[rows, 0], points[rows, 1], 26, label=name, **look)
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


def _trails(axes: Axes, values: Floats, keep: Array, colour: str, dash: Any, name: str) -> None:
    """Draw the clips (n, V) of one label and their mean."""
    pale = max(0.08, min(0.5, 4 / len(values)))
    axes.plot(values.T, color=colour, linewidth=0.7, alpha=pale)
    reach = keep.mean(axis=0) >= 0.5
    mean = np.nanmean(values[:, reach], axis=0)
    axes.plot(np.nonzero(reach)[0], mean, color=colour, linestyle=dash, linewidth=2.2, label=name)


def _principal(x: Floats) -> tuple[Floats, Floats]:
    """Return x (N, S) along its two main directions (N, 2) and the share of variance in each (2,)."""
    centred = x - x.mean(axis=0)
    left, size, right = np.linalg.svd(centred, full_matrices=False)
    # The sign of a direction is arbitrary; fix it, so that the same factors give the same figure.
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    points = np.pad(left * size * signs, ((0, 0), (0, 2)))[:, :2]
    energy = np.pad(size**2, (0, 2))[:2]
    return points, energy / max(float((size**2).sum()), np.finfo(float).tiny)


def _legend(figure: Figure, axes: Axes, what: str) -> None:
    handles, names = axes.get_legend_handles_labels()
    columns = 1 if len(names) <= 14 else 2 if len(names) <= 28 else 3
    legend = figure.legend(handles, names, loc="outside right upper", title=what, ncols=columns)
    for text in [*legend.get_texts(), legend.get_title()]:
        text.set_parse_math(False)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
