"""Changing the sample rate by windowed sinc interpolation."""

from __future__ import annotations

import functools
import math

import numpy as np

from diffsda.data.check import Array
from diffsda.errors import InputError

CROSSINGS = 6
"""Zero crossings of the sinc on either side that the window lets through."""
ROLLOFF = 0.99
"""Where the low pass ends, as a share of the lower Nyquist frequency."""


def resample(samples: Array, rate: int, rate_out: int) -> Array:
    """Return the samples at another rate.

    Shapes: samples (..., T) float32; returns (..., ceil(T * rate_out / rate)) float32. Silence is taken to lie before
    and after.
    Source: J. O. Smith, Digital Audio Resampling; with torchaudio's defaults (a squared cosine window over six zero
    crossings, roll-off 0.99), which the paper's features were made with.
    Raises: InputError if a rate is not a positive whole number.
    """
    if rate < 1 or rate_out < 1 or int(rate) != rate or int(rate_out) != rate_out:
        raise InputError(f"rate: got {rate} to {rate_out}, expected positive whole numbers of hertz")
    samples = np.asarray(samples, np.float32)
    if rate == rate_out:
        return samples
    common = math.gcd(int(rate), int(rate_out))
    step, phases = int(rate) // common, int(rate_out) // common
    kernel, reach = _kernel(step, phases)
    length = samples.shape[-1]
    around = [(0, 0)] * (samples.ndim - 1) + [(reach, reach + step)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, around), 2 * reach + step, axis=-1)
    # One product makes all phases between two steps: (..., steps, taps) x (taps, phases).
    out = windows[..., ::step, :] @ kernel
    return out.reshape(*samples.shape[:-1], -1)[..., : math.ceil(length * phases / step)]


@functools.lru_cache(maxsize=16)
def _kernel(step: int, phases: int) -> tuple[Array, int]:
    """Return the filter (taps, phases) float32 and how many samples it reaches back."""
    # Frequencies in units where the input's rate is ``step`` and the output's ``phases``.
    cut = min(step, phases) * ROLLOFF
    reach = math.ceil(CROSSINGS * step / cut)
    taps = np.arange(-reach, reach + step) / step
    # The one place where float64 would part from the reference: it rounds the phases to float32.
    turns = np.arange(phases, dtype=np.float32) / np.float32(phases)
    at = np.clip((taps[:, None] - turns[None]) * cut, -CROSSINGS, CROSSINGS)
    window = np.cos(at * np.pi / CROSSINGS / 2) ** 2
    return (np.sinc(at) * window * cut / step).astype(np.float32), reach
