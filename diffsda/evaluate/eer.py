"""Equal error rate: how well scores tell pairs of the same label from pairs of different ones."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats, finite

Truth = NDArray[np.bool_]
BLOCK = 256
"""Embeddings compared with all later ones at a time."""


def equal_error_rate(scores: ArrayLike, same: ArrayLike) -> float:
    """Return the rate at which as many same pairs are refused as different ones let in; higher scores mean "same".

    0 is a perfect separator, 0.5 is chance. Operating points are taken at distinct scores, so ties cannot be ordered
    to anyone's favour, and joined by straight lines.
    Shapes: scores (P,), same (P,) of truth values.
    Raises: InputError if there is no positive or no negative pair, shapes differ, or a score is not finite.
    """
    values, truth, positives, negatives = _trials(scores, same)
    ordered, of_same, of_others = np.sort(values), np.sort(values[truth]), np.sort(values[~truth])

    def errors(threshold: float) -> tuple[float, float]:
        """Return the share of same pairs refused and of others let in, with the threshold just above a score."""
        refused = int(np.searchsorted(of_same, threshold, side="right")) / positives
        return refused, 1 - int(np.searchsorted(of_others, threshold, side="right")) / negatives

    def past(threshold: float) -> bool:
        refused, let_in = errors(threshold)
        return refused >= let_in

    # The first distinct score past the crossing; at the largest all is refused, so there is one.
    crossing = ordered[bisect_left(ordered, True, key=past)]
    before = int(np.searchsorted(ordered, crossing, side="left"))
    refused, let_in = errors(ordered[before - 1]) if before else (0.0, 1.0)
    refused_after, let_in_after = errors(crossing)
    gap_before, gap_after = let_in - refused, refused_after - let_in_after
    return float(refused + gap_before / (gap_before + gap_after) * (refused_after - refused))


def equal_error_rate_bisection(scores: ArrayLike, same: ArrayLike) -> float:
    """Return the share of different pairs let in at the threshold that the published search stops at.

    A pair is let in if its score lies above the threshold. The threshold is looked for in [-1, 1] by halving, as the
    root of (same pairs refused) - (different pairs let in), both as shares; that difference is a staircase, which
    need not touch 0, so the rate may be off by one step. ``equal_error_rate`` has no such slack.
    Shapes: scores (P,) cosines, same (P,) of truth values. Scores of float32 meet a threshold rounded to float32.
    Source: the authors' code. Differs: pairs are counted in sorted order, not one by one; the count is the same.
    Raises: InputError as ``equal_error_rate``, for scores beyond [-1, 1], or if the difference has one sign at both
    ends, as where nearly all scores are -1: the search has no answer then.
    """
    values = np.asarray(scores)
    kind = values.dtype.type if values.dtype == np.float32 else np.float64
    _, truth, positives, negatives = _trials(values, same)
    values = np.asarray(values, kind)
    if np.abs(values).max() > 1 + 1e-6:
        raise InputError(
            f"eer by bisection: got scores from {values.min():g} to {values.max():g}, expected cosines in [-1, 1]; "
            "use the interpolated equal error rate"
        )
    of_same, of_others = np.sort(values[truth]), np.sort(values[~truth])

    def let_in(threshold: float) -> float:
        return (negatives - int(np.searchsorted(of_others, kind(threshold), side="right"))) / negatives

    def difference(threshold: float) -> float:
        return int(np.searchsorted(of_same, kind(threshold), side="right")) / positives - let_in(threshold)

    if difference(-1.0) * difference(1.0) > 0:
        raise InputError(
            "eer by bisection: the difference of the two kinds of error has one sign at thresholds -1 and 1, so the "
            "search has nothing to find; use the interpolated equal error rate"
        )
    from scipy.optimize import bisect

    return let_in(float(bisect(difference, -1, 1)))


def pair_scores(embeddings: ArrayLike, labels: ArrayLike, *, centre: bool = False) -> tuple[Floats, Truth]:
    """Return the cosine of every unordered pair of embeddings, and whether their labels are the same.

    Shapes: embeddings (N, ...), flattened; labels (N,) -> scores, same (P,), P = N (N - 1) / 2, the pairs in the
    order (0, 1), (0, 2), ... ``centre`` subtracts the mean of the given embeddings first. An embedding of length zero
    has cosine 0 with all others.
    Cost: matrix products a block of rows at a time; 2 620 embeddings (3.43 million pairs) take about a second on one
    core and 30 MB. Cosines are worked out in float64 and rounded to 12 digits, so that equal ones tie.
    Source: speaker verification; DiffSDA's audio tables, which do not centre.
    Raises: InputError if shapes do not fit, there are fewer than two embeddings, or a value is not finite.
    """
    x, names = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    if x.ndim < 2 or len(x) < 2 or names.shape != (len(x),):
        raise InputError(f"eer: got embeddings {x.shape}, labels {names.shape}; expected (N, ...), (N,) and N >= 2")
    unit = _directions(finite(x.reshape(len(x), -1), "eer"), centre)
    codes = np.unique(names, return_inverse=True)[1]
    total = len(x) * (len(x) - 1) // 2
    scores, same = np.empty(total), np.empty(total, dtype=bool)
    done = 0
    for start in range(0, len(x), BLOCK):
        cosines = np.round(unit[start : start + BLOCK] @ unit[start:].T, 12)
        later = np.triu(np.ones(cosines.shape, dtype=bool), 1)
        found = cosines[later]
        alike = codes[start : start + BLOCK, None] == codes[None, start:]
        scores[done : done + len(found)], same[done : done + len(found)] = found, alike[later]
        done += len(found)
    return np.clip(scores, -1.0, 1.0, out=scores), same


def verification_eer(embeddings: ArrayLike, labels: ArrayLike, centre: bool = True) -> float:
    """Verify all pairs of clips by cosine and return the equal error rate, interpolated.

    For disentanglement a low rate is wanted of the static factor and one near 0.5 of the dynamic factor.
    Shapes, cost: see ``pair_scores``. ``centre`` subtracts the mean of the given embeddings first.
    Source: speaker verification; DiffSDA's audio tables. Differs: these do not centre and do not interpolate.
    Raises: InputError as ``pair_scores`` and ``equal_error_rate``.
    """
    return equal_error_rate(*pair_scores(embeddings, labels, centre=centre))


def _trials(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Truth, int, int]:
    """Check trials and count those of the same label and the others."""
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool)
    if values.ndim != 1 or truth.shape != values.shape:
        raise InputError(f"eer: got scores {values.shape} and same {truth.shape}, expected (P,) and (P,)")
    positives = int(truth.sum())
    negatives = truth.size - positives
    if positives == 0 or negatives == 0:
        raise InputError(
            f"eer: got {positives} pairs of the same label and {negatives} of different labels, "
            "expected at least one of each"
        )
    return finite(values, "eer"), truth, positives, negatives


def _directions(x: Floats, centre: bool) -> Floats:
    """Return rows of length one; rows that only round-off tells from zero become zero."""
    scale = np.linalg.norm(x, axis=1).max()
    x = x - x.mean(axis=0) if centre else x
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    real = norm > 1e-12 * scale
    return np.where(real, x / np.where(real, norm, 1.0), 0.0)
