"""Sound from log mel spectra without a vocoder: magnitudes by least squares, phases by iteration."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft

from diffsda.data.audio.mel import HOP, MELS, RATE_OUT, filterbank
from diffsda.data.prepared import Dataset, is_prepared
from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, finite

ITERATIONS = 50
MOMENTUM = 0.99
SOLVING = 100
"""Steps from mel bands to a magnitude a frequency."""


@dataclass(frozen=True, kw_only=True)
class Mel:
    """How log mel spectra were made, as ``log_mel`` takes it; left out, as the paper's."""

    rate: int = RATE_OUT
    """Hertz of the sound that comes out."""
    n_fft: int = 1024
    hop: int = HOP
    mels: int = MELS
    fmin: float = 0
    fmax: float = 8000


def mel_of(channels: int, folder: str | os.PathLike[str] | None = None) -> Mel:
    """Return how the log mel spectra of a set were made: what its folder says, or the paper's way for 80 bands.

    Raises: InputError if neither is known.
    """
    options = Dataset.read(folder).options if folder is not None and is_prepared(folder) else {}
    if {"rate", "n_fft", "hop", "mels", "fmin", "fmax"} <= options.keys() and options["mels"] == channels:
        whole = {name: int(options[name]) for name in ("rate", "n_fft", "hop", "mels")}
        return Mel(**whole, fmin=float(options["fmin"]), fmax=float(options["fmax"]))
    if channels == MELS:
        return Mel()
    raise InputError(
        f"sound: got spectra of {channels} bands, of which it is not known how they were made; expected {MELS} bands, "
        "the paper's, or a prepared folder that says rate, n_fft, hop, mels, fmin and fmax"
    )


def griffin_lim(log_mel: ArrayLike, form: Mel | None = None, *, iterations: int = ITERATIONS, seed: int = 0) -> Array:
    """Return a sound that has about these log mel spectra.

    Magnitudes are the non-negative ones whose mel bands are nearest, phases those that overlapping frames agree on
    best, from a random start. Both are approximate: speech sounds a little hollow.
    Shapes: log_mel (V, mels), natural logarithm of magnitudes -> (V * hop,) float32 at ``form.rate``, about in [-1, 1];
    what is louder than any sound in [-1, 1] is brought down to that.
    Source: Griffin and Lim 1984; the momentum of Perraudin, Balazs and Sondergaard 2013. Stands in for the paper's
    vocoder, HiFi-GAN.
    Raises: InputError for another shape, values that are not finite, or no iteration.
    """
    form = form or Mel()
    bands = np.asarray(log_mel, np.float64)
    if bands.ndim != 2 or bands.shape[1] != form.mels or not len(bands):
        raise InputError(f"griffin-lim: got spectra {bands.shape}, expected (V, {form.mels}) and V >= 1")
    if iterations < 1:
        raise InputError(f"griffin-lim: got {iterations} iterations, expected at least 1")
    # No sound in [-1, 1] has a larger magnitude under a Hann window; wild spectra would overflow.
    loudest = np.log(form.n_fft / 2 * _bank(form).sum(1).max())
    size = magnitudes(np.exp(np.minimum(finite(bands, "griffin-lim"), loudest)).astype(np.float32), form)
    turns = np.random.default_rng(seed).uniform(0, 2 * np.pi, size.shape)
    phase = np.exp(1j * turns).astype(np.complex64)
    before = np.zeros_like(phase)
    for _ in range(iterations):
        made = _spectra(_sound(size * phase, form), form)
        ahead = made + np.float32(MOMENTUM) * (made - before)
        before = made
        phase = ahead / np.maximum(np.abs(ahead), np.float32(1e-12))
    reach = (form.n_fft - form.hop) // 2
    return _sound(size * phase, form)[reach : reach + len(size) * form.hop]


def magnitudes(mel: Array, form: Mel) -> Array:
    """Return non-negative magnitudes (V, n_fft // 2 + 1) float32 whose mel bands are nearest to mel (V, mels).

    Frequencies that no band covers stay 0.
    """
    bank = _bank(form)  # (mels, bins)
    # Multiplying keeps what is non-negative so; the start spreads each band over its bins.
    cover = bank.sum(0)
    size = mel @ (bank / np.maximum(bank.sum(1, keepdims=True) * cover, np.float32(1e-12)))
    size = np.where(cover > 0, np.maximum(size, np.float32(1e-9)), np.float32(0))
    wanted, gram = mel @ bank, bank.T @ bank
    for _ in range(SOLVING):
        size = size * wanted / np.maximum(size @ gram, np.float32(1e-20))
    return size.astype(np.float32)


def _bank(form: Mel) -> Array:
    return filterbank(form.rate, form.n_fft, form.mels, form.fmin, form.fmax)


def _spectra(sound: Array, form: Mel) -> Array:
    frames = np.lib.stride_tricks.sliding_window_view(sound, form.n_fft)[:: form.hop]
    return fft.rfft(frames * _window(form.n_fft), axis=-1)


def _sound(spectra: Array, form: Mel) -> Array:
    """Add up windowed frames, (V - 1) * hop + n_fft samples, weighted so that unchanged frames give their sound."""
    frames = fft.irfft(spectra, form.n_fft, axis=-1) * _window(form.n_fft)
    sound, weight = (np.zeros((len(frames) - 1) * form.hop + form.n_fft, np.float32) for _ in range(2))
    for place, frame in enumerate(frames):
        here = slice(place * form.hop, place * form.hop + form.n_fft)
        sound[here] += frame
        weight[here] += _window(form.n_fft) ** 2
    # Near the ends the windows all but vanish: dividing there would make clicks.
    return sound / np.maximum(weight, weight.max() * np.float32(0.01))


@functools.lru_cache(maxsize=8)
def _window(length: int) -> Array:
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)
    window.flags.writeable = False
    return window
