"""Fréchet distance of two sets of features, as FID and FVD take it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats, finite


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Return the squared Fréchet distance of the Gaussians that have the two sets' means and covariances.

    |m_a - m_b|² + tr(S_a + S_b - 2 (S_a S_b)^½). The trace of the root is the nuclear norm of R_a R_bᵀ, where
    S = RᵀR: no matrix root is taken, so nothing turns complex and fewer rows than features need no ridge.

    Fewer rows make it larger: compare sets of one size only, and see ``halves`` for what it is on equal ones.
    Shapes: a (N, E), b (M, E); N, M at least 2. In the square of the features' unit; 0 for equal moments.
    Cost: an SVD of min(N, E) x min(M, E).
    Source: DiffSDA Table 13 and appendix G.1 (FVD).
    Raises: InputError if widths differ, there are fewer than two rows, or a value is not finite.
    """
    x, y = _rows(a, "first set"), _rows(b, "second set")
    if x.shape[1] != y.shape[1]:
        raise InputError(f"frechet: got features of widths {x.shape[1]} and {y.shape[1]}, expected the same")
    gap = x.mean(axis=0) - y.mean(axis=0)
    root_x, root_y = _root(x), _root(y)
    spread = np.vdot(root_x, root_x) + np.vdot(root_y, root_y)
    shared = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    # Zero for equal sets, but for round-off of either sign.
    return max(float(np.vdot(gap, gap) + spread - 2 * shared), 0.0)


def halves(x: ArrayLike, seed: int = 0) -> float:
    """Return the distance of a set to itself: of its two halves, dealt by ``seed``.

    What is left where there is no difference, at half the number of rows: more than two whole sets would leave. A
    distance near it says nothing.
    Shapes: x (N, E), N at least 4; with an odd N one row is left out.
    Raises: InputError as ``frechet_distance``.
    """
    rows = _rows(x, "set to halve", least=4)
    order = np.random.default_rng(seed).permutation(len(rows))
    middle = len(rows) // 2
    return frechet_distance(rows[order[:middle]], rows[order[middle : 2 * middle]])


def _rows(given: ArrayLike, name: str, least: int = 2) -> Floats:
    rows = np.asarray(given, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < least or rows.shape[1] < 1:
        raise InputError(f"frechet, {name}: got shape {rows.shape}, expected (N, E) with N at least {least}")
    return finite(rows, "frechet")


def _root(x: Floats) -> Floats:
    """Return R with RᵀR the covariance of x (N, E), in at most E rows."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(x) > x.shape[1] else centred
