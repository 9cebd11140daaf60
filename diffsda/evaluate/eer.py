"""Equal error rate: how well the cosine of two embeddings tells same label from different."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats, finite


def equal_error_rate(embeddings: ArrayLike, labels: ArrayLike, centre: bool = True) -> float:
    """Verify all pairs of clips by cosine and return the rate at which both kinds of error are equal.

    0 is a perfect separator, 0.5 is chance. For disentanglement a low rate is wanted of the static factor
    and one near 0.5 of the dynamic factor.

    Shapes: embeddings (N, ...), flattened; labels (N,). ``centre`` subtracts the mean of the given
    embeddings first. An embedding of length zero has cosine 0 with all others.
    Cost: N (N - 1) / 2 scores, sorted once; 3 million (N = 2 450) take seconds and about 250 MB.
    Source: speaker verification; DiffSDA's audio tables.
    Raises: InputError if shapes do not fit, or no pair has the same label, or none has different ones.
    """
    x, labels = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    if x.ndim < 2 or labels.shape != (len(x),):
        raise InputError(f"eer: got embeddings {x.shape}, labels {labels.shape}; expected (N, ...) and (N,)")
    unit = _directions(finite(x.reshape(len(x), -1), "eer"), centre)
    upper = np.triu(np.ones((len(x), len(x)), dtype=bool), 1)
    # Matrix products round differently from block to block; without this equal cosines would not tie.
    scores = np.round((unit @ unit.T)[upper], 12)
    same = (labels[:, None] == labels[None, :])[upper]
    return from_scores(scores, same)


def from_scores(scores: ArrayLike, same: ArrayLike) -> float:
    """Return the equal error rate of scores whose truth is known; higher scores mean "same".

    Operating points are taken at distinct scores, so ties cannot be ordered to anyone's favour, and joined
    by straight lines. Shapes: scores (P,), same (P,) of truth values.
    Raises: InputError if there is no positive or no negative pair, or a score is not finite.
    """
    scores, same = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool)
    positives, negatives = int(same.sum()), int(same.size - same.sum())
    if positives == 0 or negatives == 0:
        raise InputError(
            f"eer: got {positives} pairs of the same label and {negatives} of different labels, "
            "expected at least one of each"
        )
    order = np.argsort(finite(scores, "eer"))
    ordered, truth = scores[order], same[order]
    ends = np.append(np.nonzero(np.diff(ordered))[0], len(ordered) - 1)  # last pair of each distinct score
    below = np.cumsum(truth)[ends]  # positives refused when the threshold lies just above this score
    missed = np.concatenate([[0.0], below / positives])
    let_in = np.concatenate([[1.0], 1 - (ends + 1 - below) / negatives])
    k = int(np.argmax(missed >= let_in))  # the first point past the crossing; 0 is never one
    gap_before, gap_after = let_in[k - 1] - missed[k - 1], missed[k] - let_in[k]
    share = gap_before / (gap_before + gap_after)
    return float(missed[k - 1] + share * (missed[k] - missed[k - 1]))


def _directions(x: Floats, centre: bool) -> Floats:
    """Return rows of length one; rows that only round-off tells from zero become zero."""
    scale = np.linalg.norm(x, axis=1).max()
    x = x - x.mean(axis=0) if centre else x
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    real = norm > 1e-12 * scale
    return np.where(real, x / np.where(real, norm, 1.0), 0.0)
