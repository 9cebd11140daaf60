"""Precision and recall, the receiver's curve, accuracy and guesses, by hand."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.classification import (
    accuracy,
    area_under_roc,
    average_precision,
    balanced_accuracy,
    chance,
    majority,
)


def test_average_precision_by_hand():
    # From the highest score on: 1 of 1, 1 of 2, 2 of 3; recall rises by a half at the first and the third.
    assert average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([0, 1, 1], [0.1, 0.5, 0.6]) == 1.0


def test_equal_scores_give_the_share_of_positives():
    assert average_precision([1, 0, 0, 0], [0.3] * 4) == 0.25
    assert area_under_roc([1, 0, 0, 0], [0.3] * 4) == 0.5


def test_area_under_roc_by_hand():
    # Of the four pairs, three are in order.
    assert area_under_roc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]) == 0.75
    assert area_under_roc([1, 0], [0.1, 0.9]) == 0.0


@pytest.mark.parametrize("metric", [average_precision, area_under_roc])
def test_what_is_undefined_is_refused(metric):
    with pytest.raises(InputError, match="one class"):
        metric([1, 1, 1], [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="0 and 1"):
        metric([1, 0, -1], [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="expected"):
        metric([1, 0], [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="expected"):
        metric([], [])
    with pytest.raises(InputError, match="finite"):
        metric([1, 0], [np.nan, 0.2])


def test_accuracy_by_hand():
    assert accuracy([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75
    # A third of one class of three is missed: (1 + 1 + 1/2) / 3.
    assert balanced_accuracy([0, 1, 2, 2], [0, 1, 1, 2]) == pytest.approx(2.5 / 3)


def test_balanced_accuracy_does_not_fall_for_the_commonest_class():
    truth = [0] * 9 + [1]
    assert accuracy(truth, [0] * 10) == 0.9
    assert balanced_accuracy(truth, [0] * 10) == 0.5
    with pytest.raises(InputError, match="one class"):
        balanced_accuracy([3, 3], [3, 1])


def test_guesses():
    assert chance(4) == 0.25
    assert majority([0, 1, 1], [1, 1, 0, 2]) == 0.5
    assert majority([0, 1], [0, 1, 1]) == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="classes"):
        chance(1)
    with pytest.raises(InputError, match="majority"):
        majority([], [1])


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy])
def test_labels_that_do_not_fit_are_refused(metric):
    with pytest.raises(InputError, match="expected"):
        metric([0, 1], [0])
