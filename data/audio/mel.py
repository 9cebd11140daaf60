"""Log mel spectra as HiFi-GAN takes them, and the chunks of speech the paper cuts."""

from __future__ import annotations

import functools

import numpy as np
from scipy import fft

from diffsda.data.audio.resample import resample
from diffsda.data.check import Array
from diffsda.errors import InputError

RATE, RATE_OUT, HOP, MELS = 16_000, 22_050, 256, 80
CHUNK = 12_800
"""Samples a chunk at 16 kHz: 800 ms, which give 68 frames."""
FRAMES = 68
FLOOR = 1e-5
"""Magnitudes below are raised to it before the logarithm."""
BLOCK = 4096
"""Frames worked on at once."""


def log_mel(
    samples: Array,
    rate: int = RATE,
    *,
    rate_out: int = RATE_OUT,
    n_fft: int = 1024,
    hop: int = HOP,
    mels: int = MELS,
    fmin: float = 0,
    fmax: float = 8000,
) -> Array:
    """Return the natural logarithm of mel magnitudes.

    Shapes: samples (..., T) in [-1, 1] at ``rate``, resampled to ``rate_out``; returns (..., frames, mels) float32 at
    least log 1e-5. A frame is ``n_fft`` samples under a Hann window, one every ``hop``; (n_fft - hop) / 2 samples are
    mirrored at both ends, so T samples (after resampling) give T // hop frames.
    Source: HiFi-GAN's features (Kong et al. 2020), which the authors feed; the paper says 580 ms, its code cuts 800.
    Raises: InputError if there are too few samples to mirror.
    """
    x = resample(samples, rate, rate_out)
    reach = (n_fft - hop) // 2
    if x.shape[-1] <= reach:
        raise InputError(
            f"samples: got {np.shape(samples)[-1]} at {rate} Hz, expected more than "
            f"{reach * rate // rate_out} ({1000 * reach / rate_out:.0f} ms)"
        )
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(reach, reach)], mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(x, n_fft, axis=-1)[..., ::hop, :]
    bank = filterbank(rate_out, n_fft, mels, fmin, fmax).T
    out = np.empty((*frames.shape[:-1], mels), np.float32)
    # An hour's windows, each sample four times in them, are not held at once.
    for start in range(0, frames.shape[-2], BLOCK):
        spectrum = fft.rfft(frames[..., start : start + BLOCK, :] * _hann(n_fft), axis=-1)
        size = np.sqrt(spectrum.real**2 + spectrum.imag**2 + np.float32(1e-9))
        out[..., start : start + BLOCK, :] = np.log(np.maximum(size @ bank, np.float32(FLOOR)))
    return out


def chunks(samples: Array, length: int = CHUNK) -> Array:
    """Cut samples (T,) into (N, length), the last one filled up with zeros."""
    count = -(-len(samples) // length)
    out = np.zeros((count, length), np.float32)
    out.reshape(-1)[: len(samples)] = samples
    return out


@functools.lru_cache(maxsize=8)
def filterbank(rate: int, n_fft: int, mels: int, fmin: float, fmax: float) -> Array:
    """Return triangles of equal area (mels, n_fft // 2 + 1) float32, evenly spaced in mel.

    Source: Slaney's Auditory Toolbox, as librosa builds it by default.
    Raises: InputError unless 0 <= fmin < fmax <= rate / 2.
    """
    if not 0 <= fmin < fmax <= rate / 2:
        raise InputError(f"fmin, fmax: got {fmin} and {fmax}, expected 0 <= fmin < fmax <= {rate / 2}")
    edges = _hertz(np.linspace(_mel(fmin), _mel(fmax), mels + 2))
    bins = np.fft.rfftfreq(n_fft, 1 / rate)
    left, peak, right = (edges[i : mels + i, None] for i in range(3))
    rising, falling = (bins - left) / (peak - left), (right - bins) / (right - peak)
    bank = (np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)).astype(np.float32)
    bank.flags.writeable = False
    return bank


def centre(frame: Array | int, rate: int = RATE, rate_out: int = RATE_OUT, hop: int = HOP) -> Array:
    """Return the sample, at ``rate``, that lies in the middle of a frame."""
    return (np.asarray(frame) * hop + hop / 2) * rate / rate_out


# Linear below 1 kHz (15 mel), then 27 mel for a factor of 6.4.
_KNEE, _KNEE_MEL, _STEP = 1000.0, 15.0, np.log(6.4) / 27


def _mel(hertz: float) -> float:
    return float(hertz * _KNEE_MEL / _KNEE if hertz < _KNEE else _KNEE_MEL + np.log(hertz / _KNEE) / _STEP)


def _hertz(mel: Array) -> Array:
    return np.where(mel < _KNEE_MEL, mel * _KNEE / _KNEE_MEL, _KNEE * np.exp(_STEP * (mel - _KNEE_MEL)))


@functools.lru_cache(maxsize=8)
def _hann(length: int) -> Array:
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)
    window.flags.writeable = False
    return window
