"""Clips of a recording: brought to telephone rate, trimmed, levelled, turned into log mel spectra, cut into windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsda.data.audio.mel import log_mel
from diffsda.data.audio.resample import resample
from diffsda.data.audio.waves import read_wave
from diffsda.data.check import Array
from diffsda.errors import InputError

RATE = 8000
"""Hz: that of the prompts; the dialogue comes down to it, so that nobody is known by what lies above 4 kHz."""
N_FFT, HOP, MELS, FMIN, FMAX = 256, 100, 40, 80.0, 4000.0
"""Windows of 32 ms, one every 12.5 ms; bands from above the mains hum on, none narrower than a bin of the spectrum."""
FRAMES = 48
"""Frames a clip: 600 ms, the length of a short word."""
LEAST = 0.3
"""Seconds of speech a recording needs: half a clip."""
QUIET = 30.0
"""Decibels below the loudest 25 ms from where on sound is taken for pause."""
LEVEL = 0.05
"""Root mean square that speech, pauses left out, is brought to."""
FLOOR = 1e-4
"""Mel magnitudes below are raised to it: some 50 dB below vowels, above the noise of most of the rooms."""
_BLOCK = RATE // 40


@dataclass(frozen=True)
class Cut:
    """What came of a recording: clips x (N, 48, 40) float32, N = 0 where there is too little speech."""

    x: Array
    seconds: float
    """Speech between the first and the last sound."""
    filled: bool = False
    """The recording is shorter than a clip: silence was put around it."""


def cut(path: Path) -> Cut:
    """Read a recording and return its clips.

    The span from the first to the last 25 ms that are less than 30 dB below the loudest is kept and its level set.
    Windows of 600 ms are spread evenly over it, from its first sample to its last, as many as fit when rounded: they
    overlap a little or leave a little out. A shorter span is taken with what its recording has around it, silence where
    that ends.
    Raises: InputError if it cannot be read or is silent; MissingPackage without soundfile.
    """
    samples, rate = read_wave(path)
    samples = resample(samples, rate, RATE)
    first, last, level = speech(samples)
    if level == 0:
        raise InputError(f"{path}: is silent from end to end")
    seconds = (last - first) / RATE
    if seconds < LEAST:
        return Cut(np.zeros((0, FRAMES, MELS), np.float32), seconds)
    need = FRAMES * HOP
    if last - first < need:
        first = (first + last - need) // 2
        last = first + need
    around = samples[max(first, 0) : last]
    filled = len(around) < last - first
    held = np.zeros(last - first, np.float32)
    held[max(-first, 0) :][: len(around)] = around * np.float32(LEVEL / level)
    mel = log_mel(held, RATE, rate_out=RATE, n_fft=N_FFT, hop=HOP, mels=MELS, fmin=FMIN, fmax=FMAX)
    return Cut(windows(np.maximum(mel, np.float32(np.log(FLOOR)))), seconds, filled)


def speech(samples: Array) -> tuple[int, int, float]:
    """Return where speech begins and ends, in samples, and its root mean square without the pauses.

    All are 0 where nothing sounds. samples: (T,) at 8 kHz. A last part of less than 25 ms is not looked at, unless
    there is nothing else.
    """
    block = min(_BLOCK, len(samples))
    power = np.square(samples[: len(samples) // block * block], dtype=np.float64).reshape(-1, block).mean(1)
    if not power.any():
        return 0, 0, 0.0
    loud = np.flatnonzero(power > power.max() * 10 ** (-QUIET / 10))
    return int(loud[0]) * block, int(loud[-1] + 1) * block, float(np.sqrt(power[loud].mean()))


def windows(mel: Array, frames: int = FRAMES) -> Array:
    """Cut (T, F), T at least ``frames``, into (N, frames, F) spread evenly, N = T / frames rounded; one is centred."""
    count = max(1, int(len(mel) / frames + 0.5))
    room = len(mel) - frames
    starts = [room // 2] if count == 1 else [round(i * room / (count - 1)) for i in range(count)]
    return np.stack([mel[start : start + frames] for start in starts])
