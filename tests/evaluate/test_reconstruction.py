"""Mean squared error over valid entries only."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.reconstruction import mse


def test_by_hand():
    x, y = np.zeros((2, 2, 1)), np.array([[[1.0], [2.0]], [[3.0], [100.0]]])
    assert mse(x, y, [2, 1]) == pytest.approx((1 + 4 + 9) / 3)
    assert mse(x, y) == pytest.approx((1 + 4 + 9 + 10000) / 4)
    assert mse(y, y) == 0.0


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
