"""Inception score, entropies and balanced rows, on distributions whose answers are known."""

import math

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.inception import (
    balanced,
    conditional_entropy,
    inception_score,
    judged_accuracy,
    marginal_entropy,
)

MEASURES = (inception_score, conditional_entropy, marginal_entropy)


@pytest.mark.parametrize("classes", [2, 6, 27])
def test_sure_and_varied_is_the_best_there_is(classes):
    probs = np.tile(np.eye(classes), (5, 1))
    assert inception_score(probs) == pytest.approx(classes, rel=1e-12)
    assert conditional_entropy(probs) == 0.0
    assert marginal_entropy(probs) == pytest.approx(math.log(classes), rel=1e-12)


@pytest.mark.parametrize("classes", [2, 6])
def test_unsure_everywhere_is_the_worst(classes):
    probs = np.full((7, classes), 1 / classes)
    assert inception_score(probs) == pytest.approx(1.0, abs=1e-12)
    assert conditional_entropy(probs) == pytest.approx(math.log(classes), rel=1e-12)
    assert marginal_entropy(probs) == pytest.approx(math.log(classes), rel=1e-12)


def test_sure_of_one_class_only_is_the_worst_too():
    probs = np.tile([0.0, 1.0, 0.0], (4, 1))
    assert (inception_score(probs), conditional_entropy(probs), marginal_entropy(probs)) == (1.0, 0.0, 0.0)


def test_by_hand():
    probs = [[0.5, 0.5], [1.0, 0.0]]
    between = 0.5 * math.log(2)
    whole = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert conditional_entropy(probs) == pytest.approx(between, rel=1e-12)
    assert marginal_entropy(probs) == pytest.approx(whole, rel=1e-12)
    assert inception_score(probs) == pytest.approx(math.exp(whole - between), rel=1e-12)


def test_the_score_is_the_mean_divergence_from_the_mean():
    draw = np.random.default_rng(0)
    probs = draw.dirichlet(np.ones(5), 40)
    mean = probs.mean(0)
    divergence = (probs * np.log(probs / mean)).sum(1).mean()
    assert inception_score(probs) == pytest.approx(math.exp(divergence), rel=1e-10)
    assert 1 <= inception_score(probs) <= 5
    assert conditional_entropy(probs) <= marginal_entropy(probs)
    assert inception_score(probs.astype("f4")) == pytest.approx(math.exp(divergence), rel=1e-5)


def test_accuracy_by_hand():
    probs = [[0.7, 0.3, 0.0], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3]]
    assert judged_accuracy(probs, [0, 2, 1]) == 1.0
    assert judged_accuracy(probs, [1, 1, 1]) == pytest.approx(1 / 3)
    assert judged_accuracy(probs, [2, 0, 0]) == 0.0
    assert judged_accuracy([[0.5, 0.5]], [0]) == 1.0  # a tie goes to the first class, not to the label
    assert judged_accuracy([[0.5, 0.5]], [1]) == 0.0


def test_balanced_rows():
    labels = np.array([0, 0, 0, 0, 1, 1, -1, 2, 2, 2])
    rows = balanced(labels, seed=3)
    assert np.unique(labels[rows], return_counts=True)[1].tolist() == [2, 2, 2]
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, balanced(labels, seed=3))
    assert any(balanced(labels, seed=s).tolist() != rows.tolist() for s in range(9))
    assert balanced(["a", "b", "b"]).size == 2
    probs = np.eye(3)[labels[rows]]
    assert inception_score(probs) == pytest.approx(3.0)


def test_what_is_no_distribution_is_refused():
    for measure in MEASURES:
        for probs, words in (
            (np.zeros((0, 3)), "N >= 1"),
            (np.ones((4, 1)), "K >= 2"),
            (np.ones(4), "K >= 2"),
            ([[0.5, np.nan]], "not finite"),
            ([[0.5, 0.5], [0.9, 0.3]], "row 1 .* sums to 1.2"),
            ([[1.5, -0.5]], "from -0.5 to 1.5"),
            ([[3.0, 1.0]], "sums to 4"),
        ):
            with pytest.raises(InputError, match=words):
                measure(probs)


def test_labels_that_do_not_fit_are_refused():
    probs = [[0.4, 0.6], [0.5, 0.5]]
    for labels, words in (
        ([0], r"expected whole numbers \(2,\)"),
        ([0.0, 1.0], "float64"),
        ([0, 2], "expected 0 to 1"),
        ([0, -1], "without a label"),
    ):
        with pytest.raises(InputError, match=words):
            judged_accuracy(probs, labels)
    for labels in ([], [1, 1, 1], [-1, 2]):
        with pytest.raises(InputError, match="at least two"):
            balanced(labels)
    with pytest.raises(InputError, match="one a clip"):
        balanced([[0, 1]])
