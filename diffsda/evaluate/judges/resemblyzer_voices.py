"""Whose voice it is, by Resemblyzer; weights ship in its package."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np

from diffsda.data.audio.resample import resample
from diffsda.errors import MissingPackage
from diffsda.evaluate.judges.catalogue import VOICE
from diffsda.evaluate.judges.kinds import Floats, Waves

RATE = 16000
WIDTH = 256
SHORTEST = 0.2
"""Seconds below which there is nothing to tell a voice by."""


class Resemblyzer:
    """256 numbers a recording, of length one; the cosine of two says how alike the voices are.

    Recordings are brought to 16 kHz and to one loudness. The paper's error rates need no judge of voices; this one
    says what a network trained on voices makes of the same recordings.
    """

    name = "resemblyzer"
    substitute = False

    def __init__(self) -> None:
        try:
            from resemblyzer import VoiceEncoder, normalize_volume
        except ImportError as error:
            raise MissingPackage(f"resemblyzer: telling voices apart needs it ({error}): {VOICE}") from None
        self.version = f"resemblyzer {importlib.metadata.version('resemblyzer')}"
        self._encoder: Any = VoiceEncoder("cpu", verbose=False)
        self._loud: Any = normalize_volume

    def embed(self, waves: Waves, rate: int) -> Floats:
        """Return vectors (N, 256) of N waves (samples,); NaN for those that are silent or shorter than 0.2 s."""
        out = np.full((len(waves), WIDTH), np.nan)
        for i, wave in enumerate(waves):
            sound = resample(wave, rate, RATE)
            if len(sound) < SHORTEST * RATE or not sound.any():
                continue
            out[i] = self._encoder.embed_utterance(self._loud(sound, -30, increase_only=True))
        return out
