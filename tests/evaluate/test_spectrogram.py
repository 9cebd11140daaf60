"""Spectrogram error: bins weigh the same, whatever their range."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.reconstruction import mse
from diffsda.evaluate.spectrogram import spectrogram_mse

STD = np.array([1.0, 10.0, 0.1])
REAL = np.random.default_rng(0).normal(-4.0, STD, size=(200, 20, 3))


def test_by_hand():
    made = REAL + np.array([1.0, 0.0, 0.0])
    assert spectrogram_mse(made, REAL, STD) == pytest.approx(0.25 / 3)
    assert spectrogram_mse(REAL, REAL, STD) == 0.0


def test_it_is_the_error_of_normalised_bins():
    made = REAL + np.random.default_rng(1).normal(size=REAL.shape)
    mean = REAL.mean((0, 1))
    normal = [0.5 * (x - mean) / STD for x in (made, REAL)]
    assert spectrogram_mse(made, REAL, STD) == pytest.approx(mse(*normal))
    assert spectrogram_mse(made * STD, REAL * STD, STD * STD) == pytest.approx(mse(*normal))


def test_predicting_the_mean_costs_a_quarter():
    constant = np.broadcast_to(REAL.mean((0, 1)), REAL.shape)
    assert spectrogram_mse(constant, REAL, REAL.std((0, 1))) == pytest.approx(0.25)


def test_padding_never_counts():
    made, lengths = REAL + STD, np.full(200, 7)
    made[:, 7:] = np.nan
    assert spectrogram_mse(made, REAL, STD, lengths) == pytest.approx(0.25)


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match=r"std \(2,\)"):
        spectrogram_mse(REAL, REAL, STD[:2])
    with pytest.raises(InputError, match=r"expected \(N, V, F\)"):
        spectrogram_mse(REAL[..., None], REAL[..., None], STD)
    with pytest.raises(InputError, match="deviation 0"):
        spectrogram_mse(REAL, REAL, STD * [1, 0, 1])
    with pytest.raises(InputError, match="not finite"):
        spectrogram_mse(REAL, REAL, STD * np.nan)
    with pytest.raises(InputError, match="expected the same shape"):
        spectrogram_mse(REAL[:3], REAL, STD)
