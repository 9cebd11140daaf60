"""Frames, resampling, means and the linear probe, on cases small enough to do by hand."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate import probe

Z = np.arange(12.0).reshape(2, 3, 2)
LENGTHS = np.array([3, 2])


def spoiled(z, lengths, value):
    """Return z with its padding overwritten."""
    z = z.copy()
    for row, n in zip(z, lengths):
        row[n:] = value
    return z


def test_frames_skip_the_padding():
    flat, clip = probe.frames(Z, LENGTHS)
    np.testing.assert_array_equal(flat, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]])
    np.testing.assert_array_equal(clip, [0, 0, 0, 1, 1])
    assert probe.frames(Z)[0].shape == (6, 2)


def test_repeat_follows_the_order_of_frames():
    assert probe.repeat(["a", "b"], LENGTHS, 3).tolist() == ["a", "a", "a", "b", "b"]
    assert probe.repeat([7, 8], None, 2).tolist() == [7, 7, 8, 8]
    labels = np.array([4, 9])
    np.testing.assert_array_equal(probe.repeat(labels, LENGTHS, 3), labels[probe.frames(Z, LENGTHS)[1]])


def test_resample_by_hand():
    z = np.array([[[0.0], [1.0], [4.0]], [[5.0], [7.0], [-99.0]]])
    out = probe.resample(z, [3, 2], steps=5)
    np.testing.assert_allclose(out[:, :, 0], [[0, 0.5, 1, 2.5, 4], [5, 5.5, 6, 6.5, 7]])


def test_resample_to_the_same_number_changes_nothing():
    np.testing.assert_allclose(probe.resample(Z, steps=3), Z)


def test_resample_repeats_a_single_frame():
    np.testing.assert_array_equal(probe.resample(Z, [1, 1], steps=4)[1], [[6, 7]] * 4)


def test_resample_keeps_trailing_axes():
    assert probe.resample(np.zeros((2, 3, 1, 4, 5)), steps=7).shape == (2, 7, 1, 4, 5)


def test_mean_over_time_by_hand():
    np.testing.assert_allclose(probe.mean_over_time(Z, LENGTHS), [[2, 3], [7, 8]])


@pytest.mark.parametrize("call", [probe.frames, probe.resample, probe.mean_over_time])
def test_padding_never_matters(call):
    clean, dirty = call(spoiled(Z, LENGTHS, 0.0), LENGTHS), call(spoiled(Z, LENGTHS, np.nan), LENGTHS)
    np.testing.assert_array_equal(np.asarray(clean[0]), np.asarray(dirty[0]))
    assert np.isfinite(dirty[0]).all()


def test_accuracy_of_a_clean_split_and_of_swapped_labels():
    x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    y = np.array(["left", "left", "right", "right"])
    assert probe.accuracy(x, y, x * 3, y) == 1.0
    assert probe.accuracy(x, y, x * 3, y[::-1]) == 0.0
    assert probe.accuracy(x, y, x[[0, 3, 3, 3]], y) == 0.75


def test_accuracy_flattens_and_ignores_order_and_units():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4, 3)), rng.integers(0, 3, 60)
    x[:, 0, 0] += y
    order = rng.permutation(40)
    whole = probe.accuracy(x[:40], y[:40], x[40:], y[40:])
    assert whole == probe.accuracy(x[:40][order], y[:40][order], x[40:], y[40:])
    assert whole == probe.accuracy(x[:40] * 8 + 1, y[:40], x[40:] * 8 + 1, y[40:])


def test_a_label_never_fitted_is_a_miss():
    x = np.array([[-1.0], [1.0]])
    assert probe.accuracy(x, [0, 1], x, [0, 2]) == 0.5


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3], "expected 2 whole numbers"),
        ([3.0, 2.0], "whole numbers"),
        ([0, 3], "expected 1 to 3"),
        ([1, 4], "expected 1 to 3"),
    ],
)
def test_lengths_that_do_not_fit(lengths, message):
    with pytest.raises(InputError, match=message):
        probe.frames(Z, lengths)


def test_inputs_that_do_not_fit():
    x = np.array([[0.0], [1.0]])
    with pytest.raises(InputError, match="one class"):
        probe.accuracy(x, [1, 1], x, [1, 1])
    with pytest.raises(InputError, match="test set: got features"):
        probe.accuracy(x, [0, 1], x, [1])
    with pytest.raises(InputError, match="widths 1 and 2"):
        probe.accuracy(x, [0, 1], np.zeros((2, 2)), [0, 1])
    with pytest.raises(InputError, match="1 of 2 valid values are not finite"):
        probe.accuracy(np.array([[0.0], [np.nan]]), [0, 1], x, [0, 1])
    with pytest.raises(InputError, match="expected clips"):
        probe.frames(x)
    with pytest.raises(InputError, match="at least one of each"):
        probe.frames(np.zeros((0, 3, 2)))
    with pytest.raises(InputError, match="at least 2"):
        probe.resample(Z, steps=1)
    with pytest.raises(InputError, match="one a clip"):
        probe.repeat([[1, 2]], None, 3)
