"""Fréchet distance: the closed form of Gaussians, few rows, and what is left where nothing differs."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from diffsda.errors import InputError
from diffsda.evaluate.frechet import frechet_distance, halves


def with_moments(mean, root, rows=64, seed=0):
    """Rows whose sample mean and covariance are exactly ``mean`` and rootᵀ root."""
    wide = np.random.default_rng(seed).normal(size=(rows, len(mean)))
    wide -= wide.mean(0)
    unit = np.linalg.qr(wide)[0] * np.sqrt(rows - 1)
    return unit @ np.asarray(root) + np.asarray(mean)


def by_roots(a, b):
    """The distance by its formula, with a root of a matrix."""
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)
    return gap @ gap + np.trace(s + t) - 2 * np.trace(sqrtm(s @ t).real)


def test_the_closed_form():
    # Covariances that commute: |m - n|² + the sum of (s_i - t_i)².
    m, n, s, t = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5]), np.array([1.0, 2.0, 3.0]), np.array([4, 2, 0.5])
    expected = ((m - n) ** 2).sum() + ((s - t) ** 2).sum()
    a, b = with_moments(m, np.diag(s)), with_moments(n, np.diag(t), rows=100, seed=1)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(a[:, :1], b[:, :1]) == pytest.approx(1 + 9, rel=1e-10)


def test_it_agrees_with_the_root_of_a_matrix():
    rng = np.random.default_rng(3)
    mix, other = rng.normal(size=(6, 6)), rng.normal(size=(6, 6))
    a, b = rng.normal(size=(80, 6)) @ mix, rng.normal(size=(50, 6)) @ other + 1
    assert frechet_distance(a, b) == pytest.approx(by_roots(a, b), rel=1e-9)


def test_large_samples_come_near_the_truth():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(40_000, 4)), 2 * rng.normal(size=(40_000, 4)) + 1
    assert frechet_distance(a, b) == pytest.approx(4 * 1 + 4 * 1, rel=0.02)


def test_nothing_between_equal_sets():
    for shape in ((50, 8), (5, 40), (2, 3)):
        x = 1000 * np.random.default_rng(0).normal(size=shape) + 5000
        assert frechet_distance(x, x) <= 1e-6
        assert frechet_distance(x, x[::-1]) <= 1e-6
    assert frechet_distance(np.ones((3, 2)), np.zeros((4, 2))) == pytest.approx(2.0)


def test_fewer_rows_than_features():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(7, 30)), rng.normal(size=(11, 30)) + 2
    # A set in more dimensions than it fills: the same numbers, turned, are the same distance.
    turn = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    empty = np.zeros((1, 25))
    padded = [np.hstack([x, np.repeat(empty, len(x), 0)]) for x in (a[:, :5], b[:, :5])]
    assert frechet_distance(*padded) == pytest.approx(by_roots(a[:, :5], b[:, :5]), rel=1e-9)


def test_few_rows_make_it_larger_and_halves_tell():
    rng = np.random.default_rng(6)
    small, large = (np.mean([halves(rng.normal(size=(n, 16)), seed) for seed in range(5)]) for n in (40, 640))
    assert small > 8 * large > 0
    x = rng.normal(size=(40, 16))
    assert halves(x, 1) == halves(x, 1) != halves(x, 2)
    # Whole sets of the same number of rows leave less.
    assert frechet_distance(x, rng.normal(size=(40, 16))) < halves(x, 0)


def test_a_difference_stands_out_of_the_halves():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(200, 8))
    assert frechet_distance(x, rng.normal(size=(200, 8)) + 1) > 10 * halves(x)


def test_inputs_that_do_not_fit():
    x = np.random.default_rng(0).normal(size=(6, 3))
    with pytest.raises(InputError, match="widths 3 and 2"):
        frechet_distance(x, x[:, :2])
    with pytest.raises(InputError, match="N at least 2"):
        frechet_distance(x, x[:1])
    with pytest.raises(InputError, match=r"\(N, E\)"):
        frechet_distance(x[0], x[0])
    with pytest.raises(InputError, match="not finite"):
        frechet_distance(x, x * np.nan)
    with pytest.raises(InputError, match="N at least 4"):
        halves(x[:3])
