"""What a forest is given of a clip, by hand."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate import forest


def test_summary_by_hand():
    x = np.array([[[1.0, 5.0], [3.0, 6.0], [99.0, 7.0]]])
    missing = np.array([[[0, 1], [0, 0], [0, 0]]])
    told = forest.summary(x, missing, np.array([2]))
    # Mean, deviation, least, most and last of 1, 3 and of 6; two and one of three hours are known.
    assert told.tolist() == [[2, 6, 1, 0, 1, 6, 3, 6, 3, 6, pytest.approx(2 / 3), pytest.approx(1 / 3)]]


def test_nothing_known_is_nothing():
    told = forest.summary(np.ones((2, 3, 1)), np.ones((2, 3, 1)))
    assert not told.any()
    with pytest.raises(InputError, match="vectors"):
        forest.summary(np.zeros((2, 3, 1, 4, 4)))


def test_forests_follow_their_seed():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(40, 3)), draw.normal(size=40)
    one, again, other = (forest.numbers(seed).fit(x, y).predict(x[:5]) for seed in (0, 0, 1))
    assert (one == again).all()
    assert (one != other).any()
    assert set(forest.classes(0).fit(x, y > 0).predict(x)) == {False, True}
