"""Motions compared: same, opposite, unrelated, none, and of unequal length."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.trajectory import centred_cosine


def clips(*rows):
    """Return one-feature clips (N, V, 1)."""
    return np.array(rows, dtype=float)[..., None]


def test_by_hand():
    # Centred: (-1, 0, 1) against (-1, 1, 0): 1 / (sqrt 2 sqrt 2).
    assert centred_cosine(clips([0, 1, 2]), clips([5, 7, 6]))[0] == pytest.approx(0.5)
    # Two features at once: centred (-1, 1), (-2, 2) against (-1, 1), (2, -2): (2 - 8) / (10).
    x = np.array([[[0.0, 0.0], [2.0, 4.0]]])
    y = np.array([[[0.0, 4.0], [2.0, 0.0]]])
    assert centred_cosine(x, y)[0] == pytest.approx(-0.6)


def test_same_and_opposite_whatever_the_rest_level_and_size():
    x = np.random.default_rng(0).normal(size=(3, 6, 2))
    np.testing.assert_allclose(centred_cosine(x, 4 * x + 100), 1.0)
    np.testing.assert_allclose(centred_cosine(x, 7 - x), -1.0)


def test_no_motion_is_zero():
    still, moving = np.full((1, 5, 1), 0.1), clips([0, 1, 2, 3, 4])
    assert centred_cosine(still, moving)[0] == 0.0
    assert centred_cosine(moving, still)[0] == 0.0
    assert centred_cosine(moving, moving, [1], [5])[0] == 0.0


def test_unequal_lengths_are_aligned_at_both_ends():
    short, long = clips([0, 2, 4]), clips([0, 1, 2, 3, 4])
    assert centred_cosine(short, long)[0] == pytest.approx(1.0)
    assert centred_cosine(long, short)[0] == pytest.approx(1.0)
    padded = np.concatenate([short, np.full((1, 2, 1), np.nan)], axis=1)
    assert centred_cosine(padded, long, x_lengths=[3])[0] == pytest.approx(1.0)


def test_padding_and_order_never_matter():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4, 6, 2)), rng.normal(size=(4, 5, 2))
    n, m, order = np.array([6, 3, 2, 5]), np.array([5, 5, 4, 2]), np.array([2, 0, 3, 1])
    whole = centred_cosine(x, y, n, m)
    dirty_x, dirty_y = x.copy(), y.copy()
    for i in range(4):
        dirty_x[i, n[i] :], dirty_y[i, m[i] :] = np.nan, 1e9
    np.testing.assert_array_equal(centred_cosine(dirty_x, dirty_y, n, m), whole)
    np.testing.assert_array_equal(centred_cosine(x[order], y[order], n[order], m[order]), whole[order])


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match="same number of clips"):
        centred_cosine(np.zeros((2, 3, 1)), np.zeros((1, 3, 1)))
    with pytest.raises(InputError, match="same frames"):
        centred_cosine(np.zeros((2, 3, 1)), np.zeros((2, 3, 2)))
    with pytest.raises(InputError, match="y_lengths"):
        centred_cosine(np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), None, [4, 1])
    with pytest.raises(InputError, match="not finite"):
        centred_cosine(np.zeros((2, 3, 1)), np.full((2, 3, 1), np.inf))
