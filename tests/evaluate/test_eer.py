"""The equal error rate against hand-worked operating points and a slow reading of its definition."""

import itertools
import time

import numpy as np
import pytest
import torch
from scipy.optimize import bisect

from diffsda.errors import InputError
from diffsda.evaluate.eer import (
    equal_error_rate,
    equal_error_rate_bisection,
    pair_scores,
    verification_eer,
)


def test_by_hand():
    # Thresholds from low to high give (missed, let in): (0, 1) (0, 1/2) (1/2, 1/2): they meet at 1/2.
    assert equal_error_rate([0.1, 0.4, 0.6, 0.9], [False, True, False, True]) == 0.5
    # One of four positives lies among the negatives: (1/4, 1/3) to (1/4, 0) crosses at 1/4.
    scores = [0.9, 0.8, 0.7, 0.2, 0.5, 0.1, 0.15]
    assert equal_error_rate(scores, [True] * 4 + [False] * 3) == pytest.approx(0.25)


def test_ties_are_shared():
    assert equal_error_rate([1.0, 1.0, 1.0], [True, False, False]) == 0.5
    # Points (0, 1), (0, 1/2), then the tie of one of each leads straight to (1/2, 0):
    # missed = t/2, let in = (1 - t)/2: t = 1/2, rate 1/4.
    assert equal_error_rate([0.1, 0.5, 0.5, 0.9], [False, False, True, True]) == pytest.approx(0.25)


def test_perfect_and_perfectly_wrong():
    assert equal_error_rate([0.9, 0.8, 0.1], [True, True, False]) == 0.0
    assert equal_error_rate([0.1, 0.2, 0.9], [True, True, False]) == 1.0


def test_perfect_embeddings_are_exactly_zero():
    x = np.repeat(np.eye(5), 4, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(20, 5))
    assert verification_eer(x, np.repeat(np.arange(5), 4)) == 0.0


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("rows", [6, 203])
def test_constant_embeddings_are_chance(centre, rows):
    x = np.full((rows, 7), 0.1) * np.array([1, 2, 3, 5, 7, 11, 13])
    assert verification_eer(x, np.arange(rows) % 3, centre) == 0.5


def test_centre_takes_a_shared_offset_away():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 10)
    x = np.where(labels[:, None] == 0, 1.0, -1.0) + 0.1 * rng.normal(size=(20, 3))
    assert verification_eer(x + 1000, labels) == pytest.approx(verification_eer(x, labels), abs=1e-9)
    assert verification_eer(x, labels) == 0.0


def test_order_and_scale_do_not_matter():
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(40, 6)), rng.integers(0, 4, 40)
    order = rng.permutation(40)
    rate = verification_eer(x, labels)
    assert verification_eer(x[order], labels[order]) == pytest.approx(rate, abs=1e-9)
    assert verification_eer(5 * x, labels) == pytest.approx(rate, abs=1e-9)
    assert verification_eer(x.reshape(40, 2, 3), labels) == rate


def test_matches_a_slow_search():
    rng = np.random.default_rng(3)
    same = rng.random(400) < 0.3
    scores = rng.normal(size=400) + same
    gaps = []
    for threshold in scores:
        missed, let_in = (scores[same] < threshold).mean(), (scores[~same] >= threshold).mean()
        gaps.append((abs(missed - let_in), (missed + let_in) / 2))
    assert equal_error_rate(scores, same) == pytest.approx(min(gaps)[1], abs=0.005)


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match="got 0 pairs of the same label and 3"):
        verification_eer(np.eye(3), [0, 1, 2])
    with pytest.raises(InputError, match="3 pairs of the same label and 0"):
        verification_eer(np.eye(3), [0, 0, 0])
    with pytest.raises(InputError, match=r"expected \(N, \.\.\.\)"):
        verification_eer(np.eye(3), [0, 1])
    with pytest.raises(InputError, match="not finite"):
        verification_eer(np.full((3, 2), np.nan), [0, 1, 1])
    with pytest.raises(InputError, match="N >= 2"):
        verification_eer(np.eye(3)[:1], [0])
    for rate in (equal_error_rate, equal_error_rate_bisection):
        with pytest.raises(InputError, match="got 0 pairs of the same label and 0"):
            rate([], [])
        with pytest.raises(InputError, match="not finite"):
            rate([0.1, np.nan], [True, False])
        with pytest.raises(InputError, match=r"scores \(2,\) and same \(3,\)"):
            rate([0.1, 0.2], [True, False, True])
        with pytest.raises(InputError, match="1 pairs of the same label and 0"):
            rate([0.1], [True])


def test_pairs_are_all_of_them_in_order():
    rng = np.random.default_rng(5)
    x, labels = rng.normal(size=(600, 2, 3)), rng.integers(0, 4, 600)  # more than two blocks
    flat = x.reshape(600, 6)
    one, other = np.triu_indices(600, 1)
    for centre in (False, True):
        y = flat - flat.mean(0) * centre
        wanted = (y[one] * y[other]).sum(1) / np.linalg.norm(y[one], axis=1) / np.linalg.norm(y[other], axis=1)
        scores, same = pair_scores(x, labels, centre=centre)
        np.testing.assert_allclose(scores, wanted, atol=1e-11)
        np.testing.assert_array_equal(same, labels[one] == labels[other])
    assert verification_eer(x, labels, False) == equal_error_rate(*pair_scores(x, labels))


def test_pairs_of_equal_or_absent_embeddings():
    scores, _ = pair_scores(np.tile([0.1, 0.3, 0.7], (300, 1)), np.zeros(300))
    assert set(scores) == {1.0}
    scores, _ = pair_scores([[0.0, 0.0], [1.0, 2.0], [-1.0, -2.0]], ["a", "b", "b"])
    assert scores.tolist() == [0.0, 0.0, -1.0]


def test_nearly_parallel_embeddings_are_told_apart():
    # All cosines are within 1e-7 of 1: float32 could not order them.
    labels = np.repeat([0, 1], 10)
    x = np.stack([np.full(20, 1e4), np.where(labels == 0, 1.0, -1.0)], axis=1)
    assert pair_scores(x, labels)[0].min() > 1 - 1e-7
    assert verification_eer(x, labels, centre=False) == 0.0


def published_rate(x, labels):
    """The published search, read literally: one pair after the other, in float32."""
    x = torch.as_tensor(x, dtype=torch.float32)
    pairs = [
        (torch.cosine_similarity(x[i][None], x[j][None]), labels[i] == labels[j])
        for i, j in itertools.combinations(range(len(x)), 2)
    ]
    positives = sum(same for _, same in pairs)

    def errors(threshold):
        let_in = sum(bool(score > threshold) and not same for score, same in pairs)
        refused = sum(not bool(score > threshold) and same for score, same in pairs)
        return refused / positives, let_in / (len(pairs) - positives)

    root = bisect(lambda threshold: errors(threshold)[0] - errors(threshold)[1], -1, 1)
    return errors(root)[1], np.concatenate([score.numpy() for score, _ in pairs]), [same for _, same in pairs]


@pytest.mark.parametrize("seed", range(6))
def test_bisection_is_the_published_search(seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(15) % 4
    x = rng.normal(size=(15, 3)) + rng.normal(size=(4, 3))[labels]
    rate, scores, same = published_rate(x, labels)
    assert equal_error_rate_bisection(scores, same) == rate
    assert abs(equal_error_rate(scores, same) - rate) < 0.05
    # Cosines of our own, in float64, differ by rounding only: by one step of the staircase at most.
    assert abs(equal_error_rate_bisection(*pair_scores(x, labels)) - rate) <= 1 / (len(same) - sum(same)) + 1e-12


def test_bisection_by_hand():
    assert equal_error_rate_bisection([0.9, 0.8, 0.1, -0.3], [True, True, False, False]) == 0.0
    assert equal_error_rate_bisection([-0.5, -0.2, 0.9], [True, True, False]) == 1.0
    # Between 0.2 and 0.3 one of two positives is refused and one of two negatives let in: the difference is 0.
    assert equal_error_rate_bisection([0.2, 0.6, 0.1, 0.3], [True, True, False, False]) == 0.5
    # Between 0.2 and 0.4 a third of either kind is wrong.
    scores = [0.2, 0.6, 0.7, 0.1, 0.15, 0.4]
    assert equal_error_rate_bisection(scores, [True] * 3 + [False] * 3) == pytest.approx(1 / 3, abs=1e-12)
    assert equal_error_rate(scores, [True] * 3 + [False] * 3) == pytest.approx(1 / 3, abs=1e-12)


def test_bisection_says_where_it_has_no_answer():
    with pytest.raises(InputError, match="expected cosines"):
        equal_error_rate_bisection([2.0, 0.1], [True, False])
    with pytest.raises(InputError, match="one sign"):
        equal_error_rate_bisection([-1.0, -1.0], [True, False])
    assert equal_error_rate([-1.0, -1.0], [True, False]) == 0.5


def test_millions_of_pairs_take_seconds():
    rng = np.random.default_rng(4)
    x, labels = rng.normal(size=(2620, 24)).astype("f4"), np.arange(2620) % 40
    began = time.process_time()
    scores, same = pair_scores(x, labels)
    rates = equal_error_rate(scores, same), equal_error_rate_bisection(scores, same)
    assert time.process_time() - began < 10
    assert len(scores) == 3_430_890
    assert rates == pytest.approx((0.5, 0.5), abs=0.02)
    assert rates[0] == pytest.approx(rates[1], abs=1e-4)
