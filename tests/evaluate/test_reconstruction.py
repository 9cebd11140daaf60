"""Mean squared error over valid entries only."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.reconstruction import mse, mse_by_clip, squared_error


def test_by_hand():
    x, y = np.zeros((2, 2, 1)), np.array([[[1.0], [2.0]], [[3.0], [100.0]]])
    assert mse(x, y, [2, 1]) == pytest.approx((1 + 4 + 9) / 3)
    assert mse(x, y) == pytest.approx((1 + 4 + 9 + 10000) / 4)
    assert mse(y, y) == 0.0


def test_every_clip_for_itself():
    x, y = np.zeros((2, 2, 1)), np.array([[[1.0], [2.0]], [[3.0], [100.0]]])
    np.testing.assert_allclose(mse_by_clip(x, y, [2, 1]), [2.5, 9])
    total, entries = squared_error(x, y, [2, 1])
    assert (total.tolist(), entries.tolist()) == ([5, 9], [2, 1])


def test_missing_values_never_count():
    x, y = np.zeros((2, 2, 2)), np.array([[[1.0, 50.0], [2.0, 3.0]], [[60.0, 70.0], [80.0, 90.0]]])
    missing = np.array([[[0, 1], [0, 0]], [[1, 1], [1, 1]]])
    assert mse(x, y, missing=missing) == pytest.approx(14 / 3)
    # The value in a hole may be anything, the padding too.
    y[0, 0, 1], y[1, 0, 0] = np.nan, np.inf
    assert mse(x, y, missing=missing) == pytest.approx(14 / 3)
    assert mse(x, y, [1, 2], missing) == 1.0
    np.testing.assert_array_equal(mse_by_clip(x, y, missing=missing), [14 / 3, np.nan])
    with pytest.raises(InputError, match="every value is missing"):
        mse(x, y, missing=np.ones_like(missing))
    with pytest.raises(InputError, match=r"got missing \(2, 2\)"):
        mse(x, y, missing=missing[..., 0])


def test_padding_and_order_never_matter():
    rng = np.random.default_rng(0)
    x, y, n = rng.normal(size=(3, 4, 2, 2, 2)), rng.normal(size=(3, 4, 2, 2, 2)), np.array([4, 1, 2])
    dirty = x.copy()
    dirty[1, 1:], dirty[2, 2:] = np.nan, np.inf
    assert mse(dirty, y, n) == mse(x, y, n)
    assert mse(x[::-1], y[::-1], n[::-1]) == pytest.approx(mse(x, y, n))


def test_bytes_do_not_wrap_around():
    assert mse(np.full((1, 2, 1), 250, np.uint8), np.full((1, 2, 1), 255, np.uint8)) == 25.0


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match="expected the same shape"):
        mse(np.zeros((1, 2, 1)), np.zeros((1, 3, 1)))
    with pytest.raises(InputError, match=r"same shape \(N, V"):
        mse(np.zeros((1, 2)), np.zeros((1, 2)))
    with pytest.raises(InputError, match="1 of 2 valid values"):
        mse(np.array([[[np.nan], [1.0]]]), np.zeros((1, 2, 1)))
