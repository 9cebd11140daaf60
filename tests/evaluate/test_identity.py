"""Average Euclidean distance and verification: by hand, with nobody found, and as the authors count."""

import math

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.identity import average_euclidean_distance, verification_accuracy

REAL = np.zeros((4, 2))
MADE = np.array([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0], [6.0, 8.0]])


def without(rows, *lost):
    held = rows.copy()
    held[list(lost)] = np.nan
    return held


def test_by_hand():
    assert average_euclidean_distance(MADE, REAL).value == pytest.approx((5 + 1 + 0 + 10) / 4)
    assert average_euclidean_distance(MADE, REAL, squared=True).value == pytest.approx((25 + 1 + 0 + 100) / 4)
    same = average_euclidean_distance(MADE, MADE)
    assert (same.value, same.missed, same.count) == (0.0, 0.0, 4)


def test_missing_frames_drop_out_and_are_told():
    got = average_euclidean_distance(without(MADE, 3), without(REAL, 1))
    assert (got.value, got.missed, got.count) == (pytest.approx(2.5), 0.5, 4)


def test_as_published_nobody_found_counts_as_no_distance():
    made, real = without(MADE, 3), without(REAL, 1)
    got = average_euclidean_distance(made, real, as_published=True)
    assert (got.value, got.missed) == (pytest.approx((5 + 0 + 0 + 0) / 4), 0.5)
    squares = average_euclidean_distance(made, real, as_published=True, squared=True)
    assert squares.value == pytest.approx(25 / 4)
    assert average_euclidean_distance(MADE, REAL, True) == average_euclidean_distance(MADE, REAL)


@pytest.mark.parametrize("as_published", [False, True])
def test_nobody_found_is_never_zero(as_published):
    lost = without(MADE, 0, 1, 2, 3)
    for got in (
        average_euclidean_distance(lost, REAL, as_published),
        average_euclidean_distance(REAL, lost, as_published, squared=True),
        verification_accuracy(lost, REAL, 1.0),
    ):
        assert math.isnan(got.value)
        assert (got.missed, got.count) == (1.0, 4)


def test_verification():
    for threshold, share in ((0.5, 0.25), (1.0, 0.5), (5.0, 0.75), (100.0, 1.0)):
        assert verification_accuracy(MADE, REAL, threshold).value == share
    got = verification_accuracy(without(MADE, 3), REAL, 1.0)
    assert (got.value, got.missed) == (pytest.approx(2 / 3), 0.25)


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match="expected the same shape"):
        average_euclidean_distance(MADE, REAL[:2])
    with pytest.raises(InputError, match=r"expected \(N, E\)"):
        average_euclidean_distance(MADE[:0], REAL[:0])
    with pytest.raises(InputError, match=r"expected \(N, E\)"):
        average_euclidean_distance(MADE[0], REAL[0])
    for bad in (np.nan, np.inf):
        broken = MADE.copy()
        broken[1, 0] = bad
        with pytest.raises(InputError, match="NaN in part or infinite"):
            verification_accuracy(broken, REAL, 1.0)
    for threshold in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="threshold: got"):
            verification_accuracy(MADE, REAL, threshold)
