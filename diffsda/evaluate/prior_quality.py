"""How good samples of a prior are beside real ones, without a decoder: are they real, are they all, are they alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats, finite

NEIGHBOURS = 3
WIDTHS = (4.0, 2.0, 1.0, 0.5, 0.25)
"""Kernel widths, in median distances of the two sets; each is half of the one before."""
_BLOCK = 512
"""Rows whose distances to all others are held at a time."""


@dataclass(frozen=True)
class PriorQuality:
    """What samples are worth beside as many real ones."""

    precision: float
    """Share of samples that lie among the real ones."""
    recall: float
    """Share of real ones that lie among the samples."""
    mmd: float
    """Squared maximum mean discrepancy, unbiased: around 0 for one distribution, a little below it half the time."""


def prior_quality(real: ArrayLike, made: ArrayLike, *, scale: ArrayLike | None = None) -> PriorQuality:
    """Score samples by all three, every dimension first divided by ``scale``.

    ``scale`` (E,) is a deviation a dimension, of a third set (the training part), so that no dimension counts by its
    unit and no score by the sets it compares; one that never varies is left as it is. Left out, dimensions are taken as
    they come.
    Shapes: real (N, E), made (M, E).
    Raises: InputError as ``precision_recall``, and for a scale of another width.
    """
    x, y = _pair(real, made)
    if scale is not None:
        spread = finite(np.asarray(scale, dtype=np.float64), "scale")
        if spread.shape != x.shape[1:] or (spread < 0).any():
            raise InputError(f"scale: got shape {spread.shape}, expected {x.shape[1:]} numbers of at least 0")
        spread = np.where(spread > 1e-12 * max(spread.max(), 1e-300), spread, 1.0)
        x, y = x / spread, y / spread
    precision, recall = precision_recall(x, y)
    return PriorQuality(precision, recall, maximum_mean_discrepancy(x, y))


def precision_recall(real: ArrayLike, made: ArrayLike, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Return the share of samples inside the real set, and the share of real ones inside the samples.

    Inside a set is who lies no further from one of its members than that member's own k-th neighbour in it.
    Compare sets of the same sizes only: both shares depend on how densely a set is sampled.
    Shapes: real (N, E), made (M, E); N, M above ``neighbours``.
    Cost: the three tables of distances, in blocks.
    Source: improved precision and recall (k-nearest-neighbour manifolds); k = 3 there too.
    Raises: InputError if widths differ, a set has not more rows than ``neighbours``, or a value is not finite.
    """
    if not isinstance(neighbours, int) or isinstance(neighbours, bool) or neighbours < 1:
        raise InputError(f"neighbours: got {neighbours!r}, expected a whole number of at least 1")
    x, y = _pair(real, made, least=neighbours + 1)
    return _inside(y, x, _radii(x, neighbours)), _inside(x, y, _radii(y, neighbours))


def maximum_mean_discrepancy(a: ArrayLike, b: ArrayLike) -> float:
    """Return the squared maximum mean discrepancy of two sets, by its unbiased estimate.

    The kernel is the mean of Gaussians exp(-d² / 2w²) of five widths w around the median distance of all rows, so its
    value is 1 at most. The estimate of equal distributions scatters around 0 and may be negative; it is not cut off,
    which would bias it.
    Shapes: a (N, E), b (M, E); N, M at least 2.
    Source: two-sample testing with kernels; as the kernel inception distance, with a kernel that has no degree.
    Raises: InputError if widths differ, a set has one row, all rows are one point, or a value is not finite.
    """
    x, y = _pair(a, b, least=2)
    middle = _median(np.concatenate([x, y]))
    if middle == 0:
        raise InputError("mmd: got rows of which most are the same, expected rows that differ")
    # A row is as close to itself as can be; an unbiased mean leaves these out.
    within_x = (_kernel_sum(x, x, middle) - len(x)) / (len(x) * (len(x) - 1))
    within_y = (_kernel_sum(y, y, middle) - len(y)) / (len(y) * (len(y) - 1))
    return within_x + within_y - 2 * _kernel_sum(x, y, middle) / (len(x) * len(y))


def _radii(x: Floats, neighbours: int) -> Floats:
    """Return the squared distance of every row to its k-th neighbour among the others, (N,)."""
    # A row is its own nearest: its k-th neighbour comes at place k, counted from 0.
    return np.concatenate([np.partition(part, neighbours, axis=1)[:, neighbours] for part in _squares(x, x)])


def _inside(x: Floats, members: Floats, radii: Floats) -> float:
    return float(np.concatenate([(part <= radii).any(axis=1) for part in _squares(x, members)]).mean())


def _median(x: Floats) -> float:
    """Return the median distance of two different rows, of 2048 rows at most."""
    few = x[:: -(-len(x) // 2048)]
    squares = np.concatenate(list(_squares(few, few)))
    return float(np.median(np.sqrt(squares[np.triu_indices(len(few), 1)])))


def _kernel_sum(x: Floats, y: Floats, middle: float) -> float:
    total = 0.0
    for part in _squares(x, y):
        kernel = np.exp(-part / (2 * (WIDTHS[0] * middle) ** 2))
        total += float(kernel.sum())
        for _ in WIDTHS[1:]:
            # Half the width is four times the exponent.
            kernel = np.square(np.square(kernel))
            total += float(kernel.sum())
    return total / len(WIDTHS)


def _squares(x: Floats, y: Floats) -> Iterator[Floats]:
    """Yield the squared distances of all rows of x to all of y, a block of rows at a time."""
    from sklearn.metrics.pairwise import euclidean_distances

    centre = y.mean(axis=0)
    x, y = x - centre, y - centre
    sizes = np.square(y).sum(axis=1)
    for start in range(0, len(x), _BLOCK):
        rows = x[start : start + _BLOCK]
        part = euclidean_distances(rows, y, Y_norm_squared=sizes[None], squared=True)
        # Rows that only round-off tells apart are the same row.
        part[part < 1e-12 * (np.square(rows).sum(axis=1)[:, None] + sizes)] = 0.0
        yield part


def _pair(a: ArrayLike, b: ArrayLike, least: int = 1) -> tuple[Floats, Floats]:
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    for name, rows in (("first", x), ("second", y)):
        if rows.ndim != 2 or rows.shape[1] < 1 or len(rows) < least:
            raise InputError(f"{name} set: got shape {rows.shape}, expected (N, E) with N at least {least}")
    if x.shape[1] != y.shape[1]:
        raise InputError(f"sets: got widths {x.shape[1]} and {y.shape[1]}, expected the same")
    return finite(x, "first set"), finite(y, "second set")
