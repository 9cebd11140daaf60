"""Precision, recall and kernel distance on sets whose answer is known."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.prior_quality import WIDTHS, maximum_mean_discrepancy, precision_recall, prior_quality

RNG = np.random.default_rng(0)


def cloud(rows=200, width=4, seed=0, at=0.0, spread=1.0):
    return np.random.default_rng(seed).normal(at, spread, size=(rows, width))


def test_equal_sets():
    x = cloud()
    assert precision_recall(x, x) == (1.0, 1.0)
    assert precision_recall(x, x[::-1]) == (1.0, 1.0)
    assert maximum_mean_discrepancy(x, x) <= 0


def test_sets_apart():
    x, y = cloud(), cloud(seed=1, at=100.0)
    assert precision_recall(x, y) == (0.0, 0.0)
    assert maximum_mean_discrepancy(x, y) > 0.5


def test_samples_of_one_kind_out_of_two():
    both = np.concatenate([cloud(), cloud(seed=1, at=100.0)])
    one = cloud(400, seed=2)
    precision, recall = precision_recall(both, one)
    assert precision > 0.8
    assert 0.3 < recall <= 0.5
    # The other way around what is precise is what is recalled.
    assert precision_recall(one, both) == (recall, precision)


def test_samples_that_are_all_one_real_clip():
    x = cloud()
    precision, recall = precision_recall(x, np.repeat(x[:1], 200, axis=0))
    assert precision == 1.0
    assert recall == 1 / 200


def test_rows_that_are_the_same_are_at_no_distance():
    for seed in range(10):
        x = cloud(40, width=50, seed=seed, at=3.0)
        # Most rows are one row; round-off must not be taken for the distance they are apart.
        with pytest.raises(InputError, match="rows that differ"):
            maximum_mean_discrepancy(
                np.repeat(x[:1], 20, axis=0), np.concatenate([np.repeat(x[:1], 19, axis=0), x[1:2]])
            )
        assert precision_recall(x, np.tile(x[:2], (20, 1))) == (1.0, 2 / 40)


def test_by_hand():
    real = np.array([[0.0], [1.0], [3.0], [10.0]])
    made = np.array([[0.5], [20.0], [21.0], [22.0]])
    # Neighbours of real: 1, 1, 2, 7 away; its intervals are [-1, 1], [0, 2], [1, 5], [3, 17].
    # Neighbours of made: 19.5, 1, 1, 1 away; its intervals are [-19, 20], [19, 21], [20, 22], [21, 23].
    assert precision_recall(real, made, 1) == (1 / 4, 1.0)
    assert precision_recall(real, made[1:], 1) == (0.0, 0.0)


def test_the_kernel_distance_by_hand():
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [3.0]])
    # Distances of all pairs: 1, 0, 3, 1, 2, 3; their median is 1.5.
    k = lambda d: np.mean([np.exp(-((d / (w * 1.5)) ** 2) / 2) for w in WIDTHS])  # noqa: E731
    expected = k(1) + k(3) - 2 * (k(0) + k(3) + k(1) + k(2)) / 4
    assert maximum_mean_discrepancy(x, y) == pytest.approx(expected)


def test_the_kernel_distance_has_no_bias():
    found = [maximum_mean_discrepancy(cloud(40, seed=2 * i), cloud(40, seed=2 * i + 1)) for i in range(60)]
    assert min(found) < 0 < max(found)
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(60)
    assert maximum_mean_discrepancy(cloud(40), cloud(40, seed=1, at=0.5)) > max(found)


def test_it_is_the_same_far_from_the_origin():
    x, y = cloud(), cloud(seed=1, at=0.3)
    near, far = prior_quality(x, y), prior_quality(x + 1e6, y + 1e6)
    assert (far.precision, far.recall, far.mmd) == pytest.approx((near.precision, near.recall, near.mmd), rel=1e-4)
    assert precision_recall(x + 1e6, np.repeat(x[:1] + 1e6, 200, axis=0)) == (1.0, 1 / 200)


def test_blocks_do_not_matter():
    x, y = cloud(700), cloud(600, seed=1, at=0.5)
    order = RNG.permutation(700)
    assert precision_recall(x[order], y) == precision_recall(x, y)
    precision, recall = precision_recall(x, y)
    assert 0 < precision < 1
    assert 0 < recall < 1
    assert maximum_mean_discrepancy(x[order], y[::-1]) == pytest.approx(maximum_mean_discrepancy(x, y), abs=1e-12)


def test_dimensions_count_alike_under_a_scale():
    scale = np.array([1.0, 1000.0, 0.001, 1.0])
    x, y = cloud(), cloud(seed=1, at=0.5)
    plain = prior_quality(x, y)
    scaled = prior_quality(x * scale, y * scale, scale=scale)
    assert (scaled.precision, scaled.recall, scaled.mmd) == pytest.approx((plain.precision, plain.recall, plain.mmd))
    assert prior_quality(x * scale, y * scale).mmd != pytest.approx(plain.mmd)
    assert (plain.precision, plain.recall) == precision_recall(x, y)
    assert plain.mmd == maximum_mean_discrepancy(x, y)


def test_a_dimension_that_never_varies_is_left_as_it_is():
    x, y = cloud(), cloud(seed=1)
    x[:, 0] = y[:, 0] = 5.0
    assert prior_quality(x, y, scale=x.std(0)) == prior_quality(x[:, 1:], y[:, 1:], scale=x[:, 1:].std(0))


def test_inputs_that_do_not_fit():
    x = cloud(5)
    with pytest.raises(InputError, match="widths 4 and 2"):
        precision_recall(x, x[:, :2])
    with pytest.raises(InputError, match="N at least 4"):
        precision_recall(x, x[:3])
    with pytest.raises(InputError, match="not finite"):
        maximum_mean_discrepancy(x, x * np.inf)
    with pytest.raises(InputError, match=r"\(N, E\)"):
        precision_recall(x[0], x[0])
    with pytest.raises(InputError, match="N at least 2"):
        maximum_mean_discrepancy(x, x[:1])
    with pytest.raises(InputError, match="rows that differ"):
        maximum_mean_discrepancy(np.ones((4, 2)), np.ones((4, 2)))
    with pytest.raises(InputError, match="neighbours: got 0"):
        precision_recall(x, x, 0)
    with pytest.raises(InputError, match="scale: got"):
        prior_quality(x, x, scale=np.ones(3))
    with pytest.raises(InputError, match="scale: got"):
        prior_quality(x, x, scale=-np.ones(4))
