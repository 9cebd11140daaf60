"""Resampling keeps what both rates can hold, and is the filter the paper's features were made with."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsda.data.audio.resample import resample
from diffsda.errors import InputError

# torchaudio 2.11, functional.resample with its defaults, of 400 samples that are 0 but for a 1 at 200:
# (rate, rate_out) -> (length, middle, seven values around the middle, sum of squares).
TORCHAUDIO = {
    (16000, 22050): (
        552,
        276,
        [-0.04553672, -0.1232129, 0.68335295, 0.87163764, 0.0114658, -0.1198295, 0.08191637],
        1.27168190,
    ),
    (22050, 16000): (
        291,
        145,
        [-0.01017432, 0.02521086, -0.06574802, 0.69975656, 0.10199624, -0.0419465, 0.02011829],
        0.50737637,
    ),
}


@pytest.mark.parametrize("rates", TORCHAUDIO)
def test_an_impulse_is_torchaudios(rates):
    impulse = np.zeros(400, np.float32)
    impulse[200] = 1
    length, middle, around, squares = TORCHAUDIO[rates]
    y = resample(impulse, *rates)
    assert y.shape == (length,)
    assert y[middle - 3 : middle + 4] == pytest.approx(around, abs=2e-7)
    assert (y.astype(np.float64) ** 2).sum() == pytest.approx(squares, rel=1e-6)


@pytest.mark.parametrize("hertz", [100, 1000, 3000, 5000])
@pytest.mark.parametrize("rates", [(16000, 22050), (22050, 16000), (44100, 16000), (48000, 22050)])
def test_a_tone_stays_where_it_was(rates, hertz):
    rate, rate_out = rates
    x = np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
    y = resample(x.astype(np.float32), rate, rate_out)
    want = np.sin(2 * np.pi * hertz * np.arange(rate_out) / rate_out)
    assert y.shape == want.shape
    inner = slice(200, -200)
    assert np.abs(y - want)[inner].max() < 0.01


def test_what_the_lower_rate_cannot_hold_goes():
    x = np.sin(2 * np.pi * 10_500 * np.arange(44100) / 44100).astype(np.float32)
    assert np.abs(resample(x, 44100, 16000)[200:-200]).max() < 0.02


def test_a_constant_stays_a_constant():
    y = resample(np.ones(4000, np.float32), 16000, 22050)
    assert np.abs(y[200:-200] - 1).max() < 2e-3


def test_it_is_linear():
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 1000)).astype(np.float32)
    both = resample(0.5 * a - 2 * b, 16000, 22050)
    assert np.allclose(both, 0.5 * resample(a, 16000, 22050) - 2 * resample(b, 16000, 22050), atol=1e-5)


def test_a_batch_is_its_rows():
    x = np.random.default_rng(1).normal(size=(2, 3, 500)).astype(np.float32)
    y = resample(x, 16000, 22050)
    assert y.shape == (2, 3, 690)
    assert np.array_equal(y[1, 2], resample(x[1, 2], 16000, 22050))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 900), st.sampled_from([8000, 11025, 16000, 22050, 44100]), st.sampled_from([8000, 16000, 22050]))
def test_lengths(count, rate, rate_out):
    y = resample(np.ones(count, np.float32), rate, rate_out)
    assert y.shape == (math.ceil(count * rate_out / rate),)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()


def test_the_same_rate_changes_nothing():
    x = np.random.default_rng(2).normal(size=50).astype(np.float32)
    assert np.array_equal(resample(x, 16000, 16000), x)


@pytest.mark.parametrize("rates", [(0, 16000), (16000, -1), (16000.5, 8000)])
def test_rates_that_are_none_are_refused(rates):
    with pytest.raises(InputError, match="positive whole numbers"):
        resample(np.zeros(10, np.float32), *rates)
