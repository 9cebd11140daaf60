"""What a judge's probabilities say of generated clips: how right, how sure and how varied they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Floats, Ints, finite


def judged_accuracy(probs: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of clips whose likeliest class is their label, in [0, 1].

    Of equally likely classes the first counts.
    Shapes: probs (N, K), class k in column k; labels (N,), whole numbers 0 to K - 1.
    Raises: InputError if shapes do not fit, a row is no distribution, or a label is not known or has no column.
    """
    table = distributions(probs, "judged accuracy")
    return float(np.mean(table.argmax(axis=1) == classes_in(labels, table.shape, "judged accuracy")))


def inception_score(probs: ArrayLike) -> float:
    """Return exp(E KL[p(y|x) || p(y)]) = exp(H(y) - H(y|x)), from 1 to the number of classes.

    Shapes: probs (N, K), a distribution a clip.
    Source: DiffSDA appendix E.
    Raises: InputError if there is no clip, fewer than two classes, or a row is no distribution.
    """
    table = distributions(probs, "inception score")
    return float(np.exp(_entropy(table.mean(axis=0)) - _entropy(table).mean()))


def conditional_entropy(probs: ArrayLike) -> float:
    """Return H(y|x), the mean entropy of a clip's distribution in nats: 0 for a judge that is sure of every clip.

    Shapes: probs (N, K).
    Source: DiffSDA appendix E, there called inter-entropy.
    Raises: InputError as ``inception_score``.
    """
    return float(_entropy(distributions(probs, "H(y|x)")).mean())


def marginal_entropy(probs: ArrayLike) -> float:
    """Return H(y), the entropy of the mean distribution in nats: ln K if all K classes are read equally often.

    Shapes: probs (N, K).
    Source: DiffSDA appendix E, there called intra-entropy.
    Raises: InputError as ``inception_score``.
    """
    return float(_entropy(distributions(probs, "H(y)").mean(axis=0)))


def balanced(labels: ArrayLike, seed: int = 0) -> Ints:
    """Draw rows so that every class has as many as the rarest one; H(y) of the true labels is then ln K.

    Labels below 0, which stand for none, are left out.
    Shapes: labels (N,) -> rows (M,), ascending.
    Raises: InputError if labels are not (N,), or of fewer than two classes.
    """
    given = np.asarray(labels)
    if given.ndim != 1:
        raise InputError(f"balanced: got labels {given.shape}, expected (N,), one a clip")
    known = np.arange(len(given)) if given.dtype.kind in "US" else np.flatnonzero(given >= 0)
    values, counts = np.unique(given[known], return_counts=True)
    if len(values) < 2:
        raise InputError(f"balanced: got labels of {len(values)} classes, expected at least two")
    draw = np.random.default_rng(seed)
    rows = [draw.choice(known[given[known] == value], counts.min(), replace=False) for value in values]
    return np.sort(np.concatenate(rows)).astype(np.int64)


def distributions(probs: ArrayLike, name: str) -> Floats:
    """Read probs (N, K) as float64, each row divided by its sum.

    Raises: InputError if N is 0 or K below 2, or a row is no distribution: NaN, below 0, or of a sum that is not 1 up
    to what float16 rounds off.
    """
    table = np.asarray(probs, dtype=np.float64)
    if table.ndim != 2 or len(table) < 1 or table.shape[1] < 2:
        raise InputError(f"{name}: got probabilities {table.shape}, expected (N, K) of N >= 1 clips and K >= 2 classes")
    total = finite(table, name).sum(axis=1)
    wrong = np.flatnonzero((np.abs(total - 1) > 0.01) | (table.min(axis=1) < 0))
    if wrong.size:
        raise InputError(
            f"{name}: row {wrong[0]} goes from {table[wrong[0]].min():g} to {table[wrong[0]].max():g} and sums to "
            f"{total[wrong[0]]:g}, expected probabilities that sum to 1"
        )
    return table / total[:, None]


def classes_in(labels: ArrayLike, shape: tuple[int, ...], name: str) -> Array:
    """Read labels (N,) that belong to probabilities (N, K).

    Raises: InputError if they are not whole numbers, one a row, from 0 to K - 1.
    """
    given = np.asarray(labels)
    if given.shape != shape[:1] or given.dtype.kind not in "iu":
        raise InputError(f"{name}: got labels {given.dtype} {given.shape}, expected whole numbers ({shape[0]},)")
    if given.min() < 0 or given.max() >= shape[1]:
        raise InputError(
            f"{name}: got labels from {given.min()} to {given.max()}, expected 0 to {shape[1] - 1}: the judge reads "
            f"{shape[1]} classes, and clips without a label are to be left out"
        )
    return given


def _entropy(p: Floats) -> Floats:
    """Return the entropy of the last axis in nats; 0 ln 0 is 0."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1)
