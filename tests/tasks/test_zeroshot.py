"""Clips of other sets on their way into a model: what is taken of them, what the way alone loses."""

import numpy as np
import pytest

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.tasks.zeroshot import apart, borrow, same_features, strided


def clips(*shape, **more):
    return Clips(np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32), **more)


def test_a_stride_keeps_every_other_frame_of_everything():
    held = clips(
        2, 7, 3, lengths=np.array([7, 4]), mask=np.zeros((2, 7, 3)), labels={"v": np.tile(np.arange(7), (2, 1))}
    )
    made = strided(held, 2)
    np.testing.assert_array_equal(made.x, held.x[:, ::2])
    assert made.lengths.tolist() == [4, 2]
    assert made.labels["v"].tolist() == [[0, 2, 4, 6], [0, 2, -1, -1]]
    assert made.mask.shape == (2, 4, 3)
    assert strided(held, 1) is held
    for stride, words in ((0, "got 0"), (4, "got 4 for a clip of 4 frames"), (True, "got True")):
        with pytest.raises(InputError, match=words):
            strided(held, stride)


def test_what_is_borrowed_comes_back_in_its_own_form():
    held = clips(3, 6, 1, 8, 8)
    borrowed, short = borrow(held, (3, 16, 16), stride=2, frames=3, way="published")
    assert short == 0
    assert borrowed.seen.x.shape == (3, 3, 3, 16, 16)
    assert borrowed.original.x.shape == (3, 3, 1, 8, 8)
    np.testing.assert_allclose(borrowed.back(borrowed.seen.x), held.x[:, ::2], atol=1e-6)
    assert borrowed.lost() == pytest.approx(0, abs=1e-12)


def test_what_shrinks_loses_something_and_says_so():
    borrowed, _ = borrow(clips(2, 3, 3, 16, 16), (3, 8, 8))
    assert borrowed.lost() > 0.1
    assert borrow(clips(2, 3, 3, 8, 8), (3, 8, 8))[0].lost() == 0


def test_clips_that_are_too_short_are_left_out_and_counted():
    held = clips(3, 6, 2, lengths=np.array([6, 3, 5]))
    borrowed, short = borrow(held, (2,), frames=5)
    assert short == 1
    assert borrowed.seen.x.shape == (2, 5, 2)


def test_the_error_is_over_what_is_known():
    x = np.zeros((2, 3, 2), np.float32)
    mask = np.zeros_like(x)
    mask[0, 0, 0] = 1
    held = Clips(x, lengths=np.array([3, 2]), mask=mask)
    y = np.ones_like(x)
    y[0, 0, 0] = y[1, 2] = 1e6
    assert apart(y, held) == 1
    y[0, 1] = 3
    assert apart(y, held) == pytest.approx((2 * 9 + 7) / 9)
    with pytest.raises(InputError, match="expected \\(2, 3, 2\\) like the originals"):
        apart(y[:1], held)
    y[0, 1] = np.nan
    with pytest.raises(InputError, match="expected finite ones"):
        apart(y, held)
    with pytest.raises(InputError, match="got 0 values"):
        apart(x, Clips(x, mask=np.ones_like(x)))


def test_spectra_are_compared_by_their_settings():
    own = {"rate": 22050, "hop": 256, "mels": 80, "train": "x"}
    names = {"data_name": "theirs", "own_name": "ours"}
    assert same_features({**own, "train": "y", "fmin": 1}, own, **names) == ("rate", "hop", "mels")
    # The rate of recordings is not the rate of their spectra.
    assert same_features({"rate": 16000, "chunk": 1}, own, **names) == ()
    with pytest.raises(InputError, match="got hop 128 in theirs, expected 256 as in ours"):
        same_features({**own, "hop": 128}, own, **names)
