"""DCI: does a dimension of a code stand for one label, a label in one dimension, and can it be read at all?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.classification import majority
from diffsda.evaluate.lengths import Array, Floats, Ints, finite

TREES = 100
DEPTH = 3


@dataclass(frozen=True, eq=False)
class DCI:
    """Scores in [0, 1] of codes with K dimensions against F labels; 1 is best."""

    importance: Floats
    """(K, F): how much boosted trees that tell a label lean on a dimension. A column sums to 1, or is 0 throughout."""
    labels: tuple[str, ...]
    modularity: float
    """Whether a dimension serves one label only (disentanglement)."""
    compactness: float
    """Whether a label sits in one dimension (completeness)."""
    explicitness: float
    """Mean share of held-out clips whose label is told right (informativeness)."""
    explicitness_fit: float
    """The same of the clips the trees were fitted on."""
    told: Mapping[str, float]
    """Explicitness by label."""
    chance: Mapping[str, float]
    """By label what always saying the commonest one of the fitting clips gives."""
    count: int
    """Clips held out."""


def dci(
    codes: ArrayLike, labels: Mapping[str, ArrayLike], *, held_out: float = 0.2, trees: int = TREES, seed: int = 0
) -> DCI:
    """Tell every label from codes by gradient boosted trees of depth 3 and see which dimensions they use.

    The clips are split at random, 80 to 20 unless told otherwise; labels -1 are left out, label by label. What the
    trees hold of a label they cannot tell is noise: read modularity and compactness beside ``told`` and ``chance``.
    Shapes: codes (N, K), labels (N,) each.
    Cost: trees * classes fits; 2 000 clips of 32 dimensions take some ten seconds a label on one core.
    Source: Eastwood and Williams 2018; the MSD benchmark's predictor and split. Differs: the benchmark gathers
    dimensions in subsets first, with a mapping it has looked for, and takes the logarithm to the base K all the same.
    Raises: InputError if shapes do not fit, a code is not finite, there are fewer than two labels or two dimensions,
    a label has one class, or the codes say nothing of any.
    """
    x = np.asarray(codes, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2 or x.shape[1] < 2:
        raise InputError(f"dci: got codes {x.shape}, expected (N, K) of at least two clips and two dimensions")
    if len(labels) < 2:
        raise InputError(
            f"dci: got {len(labels)} labels, expected at least two, between which dimensions can be shared"
        )
    parts = parted(len(finite(x, "dci")), held_out, seed)
    columns, told, fitted, guessed = [], {}, [], {}
    for name, label in labels.items():
        y = np.asarray(label)
        if y.shape != (len(x),) or y.dtype.kind not in "iu":
            raise InputError(f"dci: got label {name} {y.dtype} {y.shape}, expected whole numbers ({len(x)},)")
        fit, test = (rows[y[rows] >= 0] for rows in parts)
        classes = len(np.unique(y[fit]))
        if classes < 2 or not test.size:
            raise InputError(
                f"dci: got {classes} classes of {name} in {fit.size} clips to fit and {test.size} clips to test, "
                "expected at least two classes and one clip"
            )
        model = _trees(x[fit], y[fit], trees, seed)
        # Where a tree has nothing left to gain, the gain of a split may round to just below 0.
        columns.append(np.maximum(np.asarray(model.feature_importances_, np.float64), 0.0))
        told[name] = float(np.mean(model.predict(x[test]) == y[test]))
        fitted.append(float(np.mean(model.predict(x[fit]) == y[fit])))
        guessed[name] = majority(y[fit], y[test])
    importance = np.stack(columns, 1)
    return DCI(
        importance=importance,
        labels=tuple(labels),
        modularity=modularity(importance),
        compactness=compactness(importance),
        explicitness=float(np.mean(list(told.values()))),
        explicitness_fit=float(np.mean(fitted)),
        told=told,
        chance=guessed,
        count=len(parts[1]),
    )


def parted(clips: int, held_out: float = 0.2, seed: int = 0) -> tuple[Ints, Ints]:
    """Draw the rows that ``dci`` fits on and those it holds out, at least one of each.

    Raises: InputError for fewer than two clips, or a share outside (0, 1).
    """
    if clips < 2 or not 0 < held_out < 1:
        raise InputError(f"dci: got {clips} clips, held-out share {held_out}; expected at least two, and 0 < share < 1")
    order = np.random.default_rng(seed).permutation(clips)
    cut = min(max(round(held_out * clips), 1), clips - 1)
    return order[cut:], order[:cut]


def modularity(importance: ArrayLike) -> float:
    """Return the mean over dimensions of 1 - H(labels | dimension) / ln F, weighed by what dimensions matter.

    A dimension that serves no label weighs nothing.
    Shapes: importance (K, F), not negative.
    Raises: InputError if there are fewer than two labels, or nothing is of importance.
    """
    matrix = _matrix(importance, "modularity", 1)
    weight = matrix.sum(axis=1)
    return float(np.sum(weight * (1 - _spread(matrix))) / weight.sum())


def compactness(importance: ArrayLike) -> float:
    """Return the mean over labels of 1 - H(dimensions | label) / ln K.

    A label for which no dimension matters is left out.
    Shapes: importance (K, F), not negative.
    Raises: InputError if there are fewer than two dimensions, or nothing is of importance.
    """
    matrix = _matrix(importance, "compactness", 0).T
    return float(np.mean(1 - _spread(matrix[matrix.sum(axis=1) > 0])))


def gathered(importance: ArrayLike, groups: ArrayLike) -> Floats:
    """Return importance (G, F) of groups of dimensions: the sum over each.

    Shapes: importance (K, F); groups (K,), the group of each dimension, 0 to G - 1.
    Raises: InputError if shapes do not fit.
    """
    matrix, of = np.asarray(importance, np.float64), np.asarray(groups)
    if matrix.ndim != 2 or of.shape != (len(matrix),) or of.dtype.kind not in "iu" or of.min() < 0:
        raise InputError(
            f"dci: got importance {matrix.shape} and groups {of.dtype} {of.shape}, expected (K, F) and (K,)"
        )
    out = np.zeros((int(of.max()) + 1, matrix.shape[1]))
    np.add.at(out, of, matrix)
    return out


def narrowed(fit: ArrayLike, codes: ArrayLike, most: int = 32) -> Floats:
    """Return codes (N, K) as they are if K is at most ``most``, else their first ``most`` principal components.

    Components turn the axes, so that modularity and compactness are then of the components.
    Shapes: fit (M, K), what components are found in; codes (N, K).
    Raises: InputError if shapes do not fit or a value is not finite.
    """
    known, x = np.asarray(fit, np.float64), np.asarray(codes, np.float64)
    if known.ndim != 2 or x.ndim != 2 or known.shape[1] != x.shape[1] or most < 1:
        raise InputError(f"dci: got codes {known.shape} and {x.shape}, most {most}; expected (M, K), (N, K), 1 or more")
    finite(known, "dci")
    finite(x, "dci")
    if x.shape[1] <= most:
        return x
    from sklearn.decomposition import PCA

    with np.errstate(invalid="ignore"):  # of values that never vary it works out shares of nothing, unused here
        return np.asarray(PCA(min(most, len(known)), svd_solver="full").fit(known).transform(x))


def _trees(x: Floats, y: Array, trees: int, seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=trees, max_depth=DEPTH, random_state=seed).fit(x, y)


def _matrix(importance: ArrayLike, name: str, axis: int) -> Floats:
    matrix = np.asarray(importance, np.float64)
    if matrix.ndim != 2 or matrix.shape[axis] < 2:
        raise InputError(f"{name}: got importance {matrix.shape}, expected (dimensions, labels), at least two of each")
    if finite(matrix, name).min() < 0:
        raise InputError(f"{name}: got importance down to {matrix.min():g}, expected 0 or more")
    if not matrix.any():
        raise InputError(f"{name}: is undefined, no dimension is of importance to any label; expected one that is")
    return matrix


def _spread(rows: Floats) -> Floats:
    """Return the entropy of each row, 1 for even ones and 0 for those with one entry; of empty rows 1."""
    total = rows.sum(axis=1, keepdims=True)
    p = np.where(total > 0, rows / np.where(total > 0, total, 1.0), 1 / rows.shape[1])
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=1) / np.log(rows.shape[1])
