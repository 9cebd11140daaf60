"""Sound from log mel spectra: a chirp keeps its spectra to a stated error."""

import json

import numpy as np
import pytest

from diffsda.data.audio.mel import filterbank, log_mel
from diffsda.data.prepared import Dataset
from diffsda.errors import InputError
from diffsda.evaluate.griffin_lim import Mel, griffin_lim, magnitudes, mel_of

TELEPHONE = Mel(rate=8000, n_fft=256, hop=100, mels=40, fmin=80, fmax=4000)


def chirp(rate, seconds=1.0):
    """A tone from 200 to 1800 Hz with a little noise."""
    t = np.arange(int(rate * seconds)) / rate
    noise = 0.01 * np.random.default_rng(0).normal(size=len(t))
    return (0.3 * np.sin(2 * np.pi * (200 * t + 800 * t * t)) + noise).astype(np.float32)


def spectra(samples, form):
    """Log mel spectra of that form."""
    held = {"n_fft": form.n_fft, "hop": form.hop, "mels": form.mels, "fmin": form.fmin, "fmax": form.fmax}
    return log_mel(samples, form.rate, rate_out=form.rate, **held)


def apart(a, b):
    """Norm of the difference of mel magnitudes, as a share."""
    return np.linalg.norm(np.exp(a) - np.exp(b)) / np.linalg.norm(np.exp(b))


@pytest.mark.parametrize("form", [Mel(), TELEPHONE])
def test_a_chirp_keeps_its_spectra(form):
    wanted = spectra(chirp(form.rate), form)
    sound = griffin_lim(wanted, form)
    assert sound.shape == (len(wanted) * form.hop,)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() < 1
    got = spectra(sound, form)
    # Measured: 0.07 to 0.08 of the norm, 0.08 to 0.10 in the logarithm (0.7 to 0.9 dB).
    assert apart(got, wanted) < 0.1
    assert np.abs(got - wanted).mean() < 0.12


def test_iterations_help():
    wanted = spectra(chirp(8000), TELEPHONE)
    errors = [apart(spectra(griffin_lim(wanted, TELEPHONE, iterations=n), TELEPHONE), wanted) for n in (1, 10, 50)]
    assert errors[0] > 1.5 * errors[1]
    assert errors[1] > 1.2 * errors[2]


def test_magnitudes_have_the_bands_they_are_made_from():
    wanted = np.exp(spectra(chirp(8000), TELEPHONE))
    size = magnitudes(wanted, TELEPHONE)
    bank = filterbank(8000, 256, 40, 80, 4000)
    assert size.min() >= 0
    assert not size[:, bank.sum(0) == 0].any()
    got = size @ bank.T
    # Measured: 0.0025 of the norm and 0.002 in the logarithm; a faint band beside a loud one is off by more.
    assert apart(np.log(got), np.log(wanted)) < 0.005
    assert np.abs(np.log(got) - np.log(wanted)).mean() < 0.01


def test_loudness_carries_over():
    wanted = spectra(chirp(8000), TELEPHONE)
    loud, soft = (griffin_lim(wanted + shift, TELEPHONE) for shift in (0.0, -2.0))
    assert np.abs(soft).max() / np.abs(loud).max() == pytest.approx(np.exp(-2), rel=0.1)


def test_the_same_seed_gives_the_same_sound():
    wanted = spectra(chirp(8000, 0.3), TELEPHONE)
    one, again, other = (griffin_lim(wanted, TELEPHONE, iterations=5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.01


def test_silence_stays_silent():
    assert np.abs(griffin_lim(np.full((10, 80), np.log(1e-5)))).max() < 1e-3


def test_wild_spectra_become_sound():
    sound = griffin_lim(np.random.default_rng(0).normal(0, 300, (8, 40)), TELEPHONE, iterations=5)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() > 0.1


def test_one_frame_is_enough():
    assert griffin_lim(np.zeros((1, 40)), TELEPHONE).shape == (100,)


def test_what_is_no_spectrum_is_refused():
    for wrong in (np.zeros((4, 79)), np.zeros((0, 80)), np.zeros((2, 4, 80))):
        with pytest.raises(InputError, match="spectra"):
            griffin_lim(wrong)
    with pytest.raises(InputError, match="finite"):
        griffin_lim(np.full((4, 80), np.nan))
    with pytest.raises(InputError, match="iterations"):
        griffin_lim(np.zeros((4, 80)), iterations=0)


def test_a_folder_says_how_its_spectra_were_made(tmp_path):
    options = {"rate": 8000, "n_fft": 256, "hop": 100, "mels": 40, "fmin": 80.0, "fmax": 4000.0}
    kept = {"kind": "arrays", "name": "x", "modality": "audio", "frames": 4, "splits": {"train": 1}}
    Dataset(**kept, channels=40, options=options).write(tmp_path)
    assert mel_of(40, tmp_path) == TELEPHONE
    assert mel_of(80) == Mel()
    assert json.loads((tmp_path / "dataset.json").read_text())["options"]["hop"] == 100
    with pytest.raises(InputError, match="not known how"):
        mel_of(41, tmp_path)
    with pytest.raises(InputError, match="not known how"):
        mel_of(40)
