"""Decibels of known errors, clip by clip, and pictures as bytes."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.pixels import as_bytes, psnr, psnr_by_clip

RNG = np.random.default_rng(0)


def test_a_known_error():
    x = np.zeros((2, 3, 1, 4, 4))
    assert psnr(x + 0.1, x, peak=1) == pytest.approx(20.0)
    assert psnr(x + 0.2, x, peak=2) == pytest.approx(20.0)
    assert psnr(x + 25.5, x, peak=255) == pytest.approx(20.0)
    assert psnr(x + 1.0, x, peak=1) == pytest.approx(0.0)
    assert psnr(x, x, peak=1) == np.inf


def test_every_clip_for_itself():
    x = np.zeros((3, 2, 4))
    y = x + np.array([0.0, 0.1, 1.0])[:, None, None]
    np.testing.assert_allclose(psnr_by_clip(x, y, peak=1), [np.inf, 20, 0])
    # One perfect clip does not make the whole infinite.
    assert psnr(x, y, peak=1) == pytest.approx(-10 * np.log10(1.01 / 3))


def test_padding_never_counts():
    x, y = np.zeros((2, 3, 2)), np.full((2, 3, 2), 0.1)
    y[0, 2], y[1, 1:] = np.nan, 7.0
    assert psnr(x, y, peak=1, lengths=[2, 1]) == pytest.approx(20.0)
    np.testing.assert_allclose(psnr_by_clip(x, y, peak=1, lengths=[2, 1]), [20, 20])


def test_bytes_of_pictures():
    x = np.zeros((2, 2, 3, 1, 2), np.float32)
    x[0, 0, :, 0, 0], x[0, 0, :, 0, 1], x[1, 1] = (-1, 0.5, 1), (-3, 0, 9), np.nan
    got = as_bytes(x, [2, 1])
    assert (got.dtype, got.shape) == (np.uint8, (3, 1, 2, 3))
    np.testing.assert_array_equal(got[0], [[[0, 191, 255], [0, 128, 255]]])
    grey = as_bytes(RNG.uniform(-1, 1, (1, 2, 1, 4, 5)))
    assert grey.shape == (2, 4, 5, 3)
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_every_byte_comes_back():
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 1, 16, 16)
    np.testing.assert_array_equal(as_bytes(every / 127.5 - 1)[..., 0], every[0, :, 0])


def test_inputs_that_do_not_fit():
    x = np.zeros((1, 2, 3))
    for peak in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(InputError, match="peak: got"):
            psnr(x, x, peak=peak)
    with pytest.raises(InputError, match="expected the same shape"):
        psnr_by_clip(x, x[:, :1], peak=1)
    with pytest.raises(InputError, match="not finite"):
        psnr(x, x + np.nan, peak=1)
    with pytest.raises(InputError, match="1 or 3 channels"):
        as_bytes(np.zeros((1, 2, 4, 8, 8)))
    with pytest.raises(InputError, match="1 or 3 channels"):
        as_bytes(np.zeros((1, 2, 3)))
    with pytest.raises(InputError, match="not finite"):
        as_bytes(np.full((1, 1, 1, 2, 2), np.nan))
    with pytest.raises(InputError, match="at least one of each"):
        as_bytes(np.zeros((0, 1, 1, 2, 2)))
