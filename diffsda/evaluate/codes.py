"""Frozen factors of a set of clips, as arrays: what heads and verification work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffsda.disentangler import Disentangler
from diffsda.evaluate.lengths import Array, Floats, Ints, finite, valid
from diffsda.evaluate.probe import mean_over_time
from diffsda.tasks.encode import encode

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


@dataclass(frozen=True, eq=False)
class Codes:
    """Factors of N clips.

    Shapes: static (N, S), dynamic (N, V, D) with 0 past a clip's end, lengths (N,).
    """

    static: Floats
    dynamic: Floats
    lengths: Ints

    def __len__(self) -> int:
        return len(self.lengths)

    def select(self, rows: Array) -> Codes:
        """Return the codes of some clips."""
        return Codes(self.static[rows], self.dynamic[rows], self.lengths[rows])

    def dynamic_mean(self) -> Floats:
        """Return d (N, D) averaged over the frames of each clip."""
        return mean_over_time(self.dynamic, self.lengths)


def codes_of(model: Disentangler, clips: Clips, batch: int = 64) -> Codes:
    """Encode clips that are in the model's units; a static factor a frame is averaged over the clip.

    Raises: InputError if a factor is not finite, as ``Disentangler.encode`` otherwise.
    """
    factors = encode(model, clips, batch=batch)
    lengths = valid(clips.lengths, len(clips), clips.frames)
    dynamic = factors.dynamic.double().numpy()
    inside = np.arange(clips.frames)[None, :, None] < lengths[:, None, None]
    dynamic = finite(np.where(inside, dynamic, 0.0), "dynamic factors")
    static = factors.static.double().numpy()
    if static.ndim == 3:
        static = mean_over_time(static, lengths)
    return Codes(finite(static, "static factors"), dynamic, lengths)
