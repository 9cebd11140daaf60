"""How well classes are told: precision and recall, the receiver's curve, accuracy, and what guessing gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Floats, finite


def average_precision(truth: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the precision-recall curve as a sum of steps, in [0, 1].

    Scores without information give about the share of positives.
    Shapes: truth (N,) of 0 and 1; scores (N,), higher for what is more likely 1.
    Source: DiffSDA appendix E (AUPRC). By scikit-learn, as the authors.
    Raises: InputError if shapes differ, a score is not finite, or there is one class only.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*_two_classes(truth, scores, "average precision")))


def area_under_roc(truth: ArrayLike, scores: ArrayLike) -> float:
    """Return the chance that a positive scores above a negative, ties half, in [0, 1]; 0.5 without information.

    Shapes: truth (N,) of 0 and 1; scores (N,).
    Source: DiffSDA appendix E (AUROC). By scikit-learn, as the authors.
    Raises: InputError if shapes differ, a score is not finite, or there is one class only.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_two_classes(truth, scores, "area under the receiver's curve")))


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of labels told right, in [0, 1].

    Shapes: truth, predicted (N,).
    Raises: InputError if shapes differ or there is no label.
    """
    truth, predicted = _labels(truth, predicted, "accuracy")
    return float(np.mean(truth == predicted))


def balanced_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean over the classes in ``truth`` of the share told right, in [0, 1].

    Shapes: truth, predicted (N,).
    Raises: InputError if shapes differ or there is one class only, of which it would say nothing else than accuracy.
    """
    truth, predicted = _labels(truth, predicted, "balanced accuracy")
    classes = np.unique(truth)
    if len(classes) < 2:
        raise InputError("balanced accuracy: got labels of one class, expected at least two")
    return float(np.mean([np.mean(predicted[truth == one] == one) for one in classes]))


def chance(classes: int) -> float:
    """Return the accuracy of a guess among ``classes``, all as likely.

    Raises: InputError for fewer than two, among which there is nothing to guess.
    """
    if classes < 2:
        raise InputError(f"chance: got {classes} classes, expected at least 2")
    return 1 / classes


def majority(fit: ArrayLike, truth: ArrayLike) -> float:
    """Return the accuracy on ``truth`` of saying the commonest label of ``fit`` always; the lowest of equally common.

    Shapes: fit (N,), truth (M,).
    Raises: InputError if either is empty or not one label an item.
    """
    fit, truth = np.asarray(fit), np.asarray(truth)
    for name, labels in (("fit", fit), ("truth", truth)):
        if labels.ndim != 1 or not labels.size:
            raise InputError(f"majority: got {name} {labels.shape}, expected (N,) and N >= 1")
    values, counts = np.unique(fit, return_counts=True)
    return float(np.mean(truth == values[np.argmax(counts)]))


def _two_classes(truth: ArrayLike, scores: ArrayLike, name: str) -> tuple[Array, Floats]:
    truth, scores = np.asarray(truth), np.asarray(scores, np.float64)
    if truth.ndim != 1 or truth.shape != scores.shape or not truth.size:
        raise InputError(f"{name}: got truth {truth.shape}, scores {scores.shape}; expected (N,) both and N >= 1")
    if not np.isin(truth, (0, 1)).all():
        raise InputError(f"{name}: got labels {_some(np.unique(truth))}, expected 0 and 1; leave out what is not known")
    if len(np.unique(truth)) < 2:
        raise InputError(f"{name}: got labels of one class ({_some(truth[:1])}), expected both 0 and 1")
    return truth.astype(np.int64), finite(scores, name)


def _labels(truth: ArrayLike, predicted: ArrayLike, name: str) -> tuple[Array, Array]:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim != 1 or truth.shape != predicted.shape or not truth.size:
        raise InputError(f"{name}: got truth {truth.shape}, predicted {predicted.shape}; expected (N,) both and N >= 1")
    return truth, predicted


def _some(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
