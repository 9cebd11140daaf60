"""How speech sounds, by DNSMOS: the paper's judge of resynthesised speech; models ship in the package speechmos."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np

from diffsda.data.audio.resample import resample
from diffsda.errors import MissingPackage
from diffsda.evaluate.judges.catalogue import SPEECH
from diffsda.evaluate.judges.kinds import Floats, Waves

RATE = 16000
SCALES = ("ovrl", "sig", "bak", "p808")


class Dnsmos:
    """Mean opinion scores from 1 to 5 as people would give them: overall, speech, background, and P.808.

    Recordings are brought to 16 kHz; louder ones than 1 are turned down. Shorter ones than its window of 9 s are
    repeated by the package.
    Source: the DNSMOS of the paper's Table 12. The paper does not name the scale; the work it cites (Reddy, Gopal and
    Cutler 2021) has one, fitted to ratings by ITU-T P.808, which is ``p808`` here. The other three are of its successor
    (P.835, 2022).
    """

    name = "dnsmos"
    substitute = False
    scales = SCALES

    def __init__(self) -> None:
        try:
            from speechmos import dnsmos
        except ImportError as error:
            raise MissingPackage(f"dnsmos: rating speech needs speechmos ({error}): {SPEECH}") from None
        self._dnsmos: Any = dnsmos
        self.version = f"speechmos {importlib.metadata.version('speechmos')}"

    def rate(self, waves: Waves, rate: int) -> dict[str, Floats]:
        """Return ratings (N,) by scale of N waves (samples,); NaN for those that are silent."""
        out = {scale: np.full(len(waves), np.nan) for scale in SCALES}
        for i, wave in enumerate(waves):
            sound = resample(wave, rate, RATE)
            peak = float(np.abs(sound).max(initial=0.0))
            if peak == 0:
                continue
            said = self._dnsmos.run(sound / max(1.0, peak), sr=RATE)
            for scale in SCALES:
                out[scale][i] = float(said[f"{scale}_mos"])
        return out
