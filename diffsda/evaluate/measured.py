"""A number that a judge's detections stand behind, with what it did not detect."""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffsda.errors import InputError


@dataclass(frozen=True)
class Measured:
    """A mean over frames or clips in which a judge had to find something first."""

    value: float
    """The mean; NaN where nothing was found at all."""
    missed: float
    """Share, from 0 to 1, in which nothing was found; 1 and a value never go together."""
    count: int
    """Frames or clips that were looked at, those with nothing found included."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"measured: got {self.count} frames, expected at least one")
        if not 0 <= self.missed <= 1:
            raise InputError(f"measured: got a missed share of {self.missed}, expected 0 to 1")
        if math.isnan(self.value) != (self.missed == 1):
            raise InputError(
                f"measured: got {self.value} with a missed share of {self.missed}, expected NaN where all was missed "
                "and only there"
            )
