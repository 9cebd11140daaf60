"""DCI on codes made by hand: one dimension a label, all mixed, and codes that say nothing."""

import math

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.informativeness import compactness, dci, gathered, modularity, narrowed


def made(clips=300, seed=0):
    draw = np.random.default_rng(seed)
    return {"a": draw.integers(0, 3, clips), "b": draw.integers(0, 4, clips), "c": draw.integers(0, 2, clips)}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_a_permutation_of_the_labels_is_perfect(order):
    labels = made()
    codes = np.stack(list(labels.values()), 1)[:, list(order)] * [1.0, -2.0, 0.5]
    got = dci(codes, labels, trees=20)
    assert (got.explicitness, got.explicitness_fit) == (1.0, 1.0)
    assert got.modularity == pytest.approx(1.0, abs=1e-9)
    assert got.compactness == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(got.importance, np.eye(3)[list(order)], atol=1e-9)
    assert got.labels == ("a", "b", "c")
    assert got.count == 60


def test_random_codes_tell_nothing():
    labels = made()
    codes = np.random.default_rng(1).normal(size=(300, 4))
    got = dci(codes, labels, trees=20)
    for name, share in got.told.items():
        assert abs(share - got.chance[name]) < 0.2
    assert got.modularity < 0.2
    assert got.compactness < 0.2
    np.testing.assert_allclose(got.importance.sum(0), 1.0)


def test_a_label_in_two_dimensions_is_not_compact_and_two_in_one_not_modular():
    labels = made()
    draw = np.random.default_rng(2)
    # b is the sum of two dimensions, either of which tells half of it.
    halves = labels["b"] // 2, labels["b"] % 2
    spread = dci(np.stack([labels["a"], *halves], 1) * 1.0, {k: labels[k] for k in ("a", "b")}, trees=20)
    assert spread.modularity == pytest.approx(1.0, abs=1e-9)
    assert spread.compactness < 0.85
    mixed = dci(np.stack([labels["a"] * 4 + labels["b"], draw.normal(size=300)], 1), labels, trees=20)
    assert mixed.modularity < 0.5


def test_scores_of_importance_by_hand():
    even = np.full((4, 3), 0.25)
    assert modularity(even) == pytest.approx(0.0, abs=1e-12)
    assert compactness(even) == pytest.approx(0.0, abs=1e-12)
    # A dimension of weight 3 serves one label, one of weight 1 both alike: 3/4 * 1 + 1/4 * 0.
    assert modularity([[3.0, 0.0], [0.5, 0.5]]) == pytest.approx(0.75)
    # The first label sits in one dimension, the second is spread (3/4, 1/4).
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert compactness([[1.0, 0.75], [0.0, 0.25]]) == pytest.approx((1 + 1 - entropy) / 2)


def test_what_does_not_matter_weighs_nothing():
    assert modularity([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]) == 1.0
    assert compactness([[1.0, 0.0], [0.0, 0.0]]) == 1.0  # of the second label nothing is known


def test_groups_gather_their_dimensions():
    importance = np.array([[0.5, 0.0], [0.5, 0.2], [0.0, 0.8]])
    np.testing.assert_allclose(gathered(importance, [0, 0, 1]), [[1.0, 0.2], [0.0, 0.8]])
    for groups in ([0, 1], [0.0, 0.0, 1.0], [-1, 0, 1]):
        with pytest.raises(InputError, match="groups"):
            gathered(importance, groups)


def test_wide_codes_are_narrowed_on_the_fitting_clips():
    draw = np.random.default_rng(3)
    base = draw.normal(size=(60, 3))
    wide = base @ draw.normal(size=(3, 40)) + 7.0
    few = narrowed(wide[:40], wide, 5)
    assert few.shape == (60, 5)
    # Three components hold all there is; distances stay what they were.
    np.testing.assert_allclose(few[:, 3:], 0.0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(few[0] - few[1]), np.linalg.norm(wide[0] - wide[1]))
    np.testing.assert_array_equal(narrowed(base, base, 3), base)
    with pytest.raises(InputError, match="expected"):
        narrowed(base, wide)
    with pytest.raises(InputError, match="not finite"):
        narrowed(base * np.nan, base)


def test_unknown_labels_are_left_out():
    labels = made()
    codes = np.stack(list(labels.values()), 1) * 1.0
    labels["a"][::2] = -1
    got = dci(codes, labels, trees=10)
    assert got.told["a"] == 1.0


def test_one_seed_one_answer():
    labels = made(120)
    codes = np.random.default_rng(1).normal(size=(120, 3))
    one, same, other = (dci(codes, labels, trees=5, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.importance, same.importance)
    assert one.told == same.told
    assert not np.array_equal(one.importance, other.importance)


def test_what_is_undefined_is_refused():
    labels = made(30)
    codes = np.random.default_rng(1).normal(size=(30, 3))
    one = {"a": labels["a"]}
    for x, y, words in (
        (codes[:0], labels, "at least two clips"),
        (codes[:, :1], labels, "two dimensions"),
        (codes, one, "got 1 labels"),
        (codes * np.nan, labels, "not finite"),
        (codes, {**one, "b": labels["b"][:5]}, r"label b int64 \(5,\)"),
        (codes, {**one, "b": labels["b"] * 1.0}, "float64"),
        (codes, {**one, "b": labels["b"] * 0}, "got 1 classes of b"),
        (codes, {**one, "b": labels["b"] * 0 - 1}, "got 0 classes of b"),
        (codes * 0, labels, "no dimension is of importance"),
    ):
        with pytest.raises(InputError, match=words):
            dci(x, y, trees=2)
    with pytest.raises(InputError, match="held-out"):
        dci(codes, labels, held_out=1.0)
    for score in (modularity, compactness):
        with pytest.raises(InputError, match="undefined"):
            score(np.zeros((2, 2)))
        with pytest.raises(InputError, match="down to -1"):
            score([[-1.0, 2.0], [1.0, 1.0]])
    with pytest.raises(InputError, match="at least two of each"):
        modularity([[1.0], [2.0]])
    with pytest.raises(InputError, match="at least two of each"):
        compactness([[1.0, 2.0]])
