"""The equal error rate against hand-worked operating points and a slow reading of its definition."""

import time

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.eer import equal_error_rate, from_scores


def test_by_hand():
    # Thresholds from low to high give (missed, let in): (0, 1) (0, 1/2) (1/2, 1/2): they meet at 1/2.
    assert from_scores([0.1, 0.4, 0.6, 0.9], [False, True, False, True]) == 0.5
    # One of four positives lies among the negatives: (1/4, 1/3) to (1/4, 0) crosses at 1/4.
    scores = [0.9, 0.8, 0.7, 0.2, 0.5, 0.1, 0.15]
    assert from_scores(scores, [True] * 4 + [False] * 3) == pytest.approx(0.25)


def test_ties_are_shared():
    assert from_scores([1.0, 1.0, 1.0], [True, False, False]) == 0.5
    # Points (0, 1), (0, 1/2), then the tie of one of each leads straight to (1/2, 0):
    # missed = t/2, let in = (1 - t)/2: t = 1/2, rate 1/4.
    assert from_scores([0.1, 0.5, 0.5, 0.9], [False, False, True, True]) == pytest.approx(0.25)


def test_perfect_and_perfectly_wrong():
    assert from_scores([0.9, 0.8, 0.1], [True, True, False]) == 0.0
    assert from_scores([0.1, 0.2, 0.9], [True, True, False]) == 1.0


def test_perfect_embeddings_are_exactly_zero():
    x = np.repeat(np.eye(5), 4, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(20, 5))
    assert equal_error_rate(x, np.repeat(np.arange(5), 4)) == 0.0


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("rows", [6, 203])
def test_constant_embeddings_are_chance(centre, rows):
    x = np.full((rows, 7), 0.1) * np.array([1, 2, 3, 5, 7, 11, 13])
    assert equal_error_rate(x, np.arange(rows) % 3, centre) == 0.5


def test_centre_takes_a_shared_offset_away():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 10)
    x = np.where(labels[:, None] == 0, 1.0, -1.0) + 0.1 * rng.normal(size=(20, 3))
    assert equal_error_rate(x + 1000, labels) == pytest.approx(equal_error_rate(x, labels), abs=1e-9)
    assert equal_error_rate(x, labels) == 0.0


def test_order_and_scale_do_not_matter():
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(40, 6)), rng.integers(0, 4, 40)
    order = rng.permutation(40)
    rate = equal_error_rate(x, labels)
    assert equal_error_rate(x[order], labels[order]) == pytest.approx(rate, abs=1e-9)
    assert equal_error_rate(5 * x, labels) == pytest.approx(rate, abs=1e-9)
    assert equal_error_rate(x.reshape(40, 2, 3), labels) == rate


def test_matches_a_slow_search():
    rng = np.random.default_rng(3)
    same = rng.random(400) < 0.3
    scores = rng.normal(size=400) + same
    gaps = []
    for threshold in scores:
        missed, let_in = (scores[same] < threshold).mean(), (scores[~same] >= threshold).mean()
        gaps.append((abs(missed - let_in), (missed + let_in) / 2))
    assert from_scores(scores, same) == pytest.approx(min(gaps)[1], abs=0.005)


def test_millions_of_pairs_take_seconds():
    rng = np.random.default_rng(4)
    began = time.perf_counter()
    rate = equal_error_rate(rng.normal(size=(2450, 12)).astype("f4"), rng.integers(0, 9, 2450))
    assert time.perf_counter() - began < 10
    assert rate == pytest.approx(0.5, abs=0.02)


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match="got 0 pairs of the same label and 3"):
        equal_error_rate(np.eye(3), [0, 1, 2])
    with pytest.raises(InputError, match="3 pairs of the same label and 0"):
        equal_error_rate(np.eye(3), [0, 0, 0])
    with pytest.raises(InputError, match=r"expected \(N, \.\.\.\)"):
        equal_error_rate(np.eye(3), [0, 1])
    with pytest.raises(InputError, match="not finite"):
        equal_error_rate(np.full((3, 2), np.nan), [0, 1, 1])
