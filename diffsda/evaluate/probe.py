"""Linear probes: how much of a label can be read from a factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Floats, Ints, finite, mask, sequences, valid


def frames(z: ArrayLike, lengths: ArrayLike | None = None) -> tuple[Array, Ints]:
    """Lay the valid frames of all clips one after the other.

    Shapes: z (N, V, D); lengths (N,); result (M, D) and the clip each frame came from (M,), where M is
    the sum of the lengths.
    Raises: InputError if z has fewer than three axes or the lengths do not fit it.
    """
    z = sequences(z, "frames")
    keep = mask(valid(lengths, *z.shape[:2]), z.shape[1])
    return z[keep], np.nonzero(keep)[0]


def repeat(labels: ArrayLike, lengths: ArrayLike | None, frames: int) -> Array:
    """Give every valid frame its clip's label, in the order of ``frames``.

    Shapes: labels (N,); lengths (N,), or None when all ``frames`` V are valid; result (M,).
    Raises: InputError if labels are not (N,) or the lengths do not fit.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise InputError(f"repeat: got labels {labels.shape}, expected (N,), one a clip")
    return np.repeat(labels, valid(lengths, len(labels), frames), axis=0)


def resample(z: ArrayLike, lengths: ArrayLike | None = None, steps: int = 16) -> Floats:
    """Bring the valid part of every clip to the same number of steps, linearly, first and last frame kept.

    Shapes: z (N, V, ...); lengths (N,); result (N, steps, ...). A clip of one frame is repeated.
    Raises: InputError if ``steps`` is below 2 or the lengths do not fit.
    """
    z = sequences(z, "resample")
    if steps < 2:
        raise InputError(f"resample: got {steps} steps, expected at least 2 (a first and a last frame)")
    last = valid(lengths, *z.shape[:2])[:, None] - 1  # (N, 1)
    position = last * np.linspace(0.0, 1.0, steps)  # (N, steps), in frames
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, last)  # never reaches into the padding
    share = (position - low).reshape(*position.shape, *[1] * (z.ndim - 2))
    rows = np.arange(len(z))[:, None]
    return z[rows, low] * (1 - share) + z[rows, high] * share


def mean_over_time(z: ArrayLike, lengths: ArrayLike | None = None) -> Floats:
    """Average the valid frames of every clip.

    Shapes: z (N, V, ...); lengths (N,); result (N, ...).
    Raises: InputError if z has fewer than three axes or the lengths do not fit it.
    """
    z = sequences(z, "mean_over_time")
    count = valid(lengths, *z.shape[:2])
    return np.stack([clip[:n].mean(axis=0, dtype=np.float64) for clip, n in zip(z, count, strict=True)])


def accuracy(fit_z: ArrayLike, fit_y: ArrayLike, test_z: ArrayLike, test_y: ArrayLike) -> float:
    """Fit a linear classifier on one set and return the share of the other it reads right, in [0, 1].

    Shapes: fit_z (N, ...), test_z (M, ...), flattened to rows of one width; fit_y (N,), test_y (M,).
    A test label that the first set lacks counts as read wrong.
    Source: the usual downstream probe (standardised inputs, logistic regression).
    Raises: InputError if rows and labels differ in number, widths differ, or there is one class only.
    """
    fit_x, fit_y = _rows(fit_z, fit_y, "probe, first set")
    test_x, test_y = _rows(test_z, test_y, "probe, test set")
    if fit_x.shape[1] != test_x.shape[1]:
        raise InputError(f"probe: got widths {fit_x.shape[1]} and {test_x.shape[1]}, expected the same")
    return float(np.mean(linear(fit_x, fit_y).predict(test_x) == test_y))


def linear(x: Floats, labels: Array) -> Any:
    """Fit StandardScaler and LogisticRegression, the one linear reader of this package.

    Shapes: x (N, F), labels (N,).
    Raises: InputError if there are fewer than two classes.
    """
    if len(np.unique(labels)) < 2:
        raise InputError("linear reader: got labels of one class, expected at least two")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)).fit(x, labels)


def _rows(z: ArrayLike, labels: ArrayLike, name: str) -> tuple[Floats, Array]:
    rows, labels = np.asarray(z, dtype=np.float64), np.asarray(labels)
    if rows.ndim < 2 or len(rows) < 1 or labels.shape != (len(rows),):
        raise InputError(
            f"{name}: got features {rows.shape}, labels {labels.shape}; expected (N, ...), (N,) and N >= 1"
        )
    return finite(rows.reshape(len(rows), -1), name), labels
