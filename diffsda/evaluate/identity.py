"""Average Euclidean distance (AED) and verification: do two pictures show the same one, as a judge embeds them?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats
from diffsda.evaluate.measured import Measured


def average_euclidean_distance(
    made: ArrayLike, real: ArrayLike, as_published: bool = False, *, squared: bool = False
) -> Measured:
    """Average the distance of two embeddings over the frames in which somebody was found on both sides.

    ``squared`` averages squared distances, as the authors' code does for TaiChi. ``as_published`` counts as their code
    does for faces: a frame in which nobody was found adds 0 and is counted, so failing lowers the value.

    Shapes: made, real (N, E); a row of NaN where nobody was found.
    Source: DiffSDA appendix E; the authors' code for ``as_published``. Differs from that code: where every frame is
    missed, the value is NaN, not 0.
    Raises: InputError if shapes differ, there is no frame, a row is NaN in part, or a value is infinite.
    """
    distance, found = _distances(made, real)
    if not found.any():
        return Measured(math.nan, 1.0, len(found))
    kept = distance[found] ** 2 if squared else distance[found]
    value = kept.sum() / (len(found) if as_published else len(kept))
    return Measured(float(value), 1 - float(found.mean()), len(found))


def verification_accuracy(made: ArrayLike, real: ArrayLike, threshold: float) -> Measured:
    """Return the share of frames whose embeddings are no further apart than ``threshold``: verified as one person.

    Of the frames in which somebody was found on both sides; times (1 - missed) it is the share of all frames.
    Shapes: as ``average_euclidean_distance``.
    Source: DiffSDA Tables 10 and 11.
    Raises: InputError as ``average_euclidean_distance``, and for a threshold that is no positive number.
    """
    if not (math.isfinite(threshold) and threshold > 0):
        raise InputError(f"threshold: got {threshold}, expected a positive distance below which two are one person")
    distance, found = _distances(made, real)
    if not found.any():
        return Measured(math.nan, 1.0, len(found))
    return Measured(float((distance[found] <= threshold).mean()), 1 - float(found.mean()), len(found))


def _distances(made: ArrayLike, real: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the distance of each pair of rows (N,), NaN where one is missing, and where none is."""
    a, b = _rows(made, "made"), _rows(real, "real")
    if a.shape != b.shape:
        raise InputError(f"embeddings: got {a.shape} and {b.shape}, expected the same shape (N, E)")
    distance = np.asarray(np.linalg.norm(a - b, axis=1), dtype=np.float64)
    return distance, ~np.isnan(distance)


def _rows(given: ArrayLike, name: str) -> Floats:
    rows = np.asarray(given, dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise InputError(f"embeddings {name}: got shape {rows.shape}, expected (N, E) with N and E at least 1")
    absent = np.isnan(rows)
    if np.isinf(rows).any() or (absent.any(axis=1) != absent.all(axis=1)).any():
        raise InputError(f"embeddings {name}: got a row that is NaN in part or infinite, expected numbers or all NaN")
    return rows
