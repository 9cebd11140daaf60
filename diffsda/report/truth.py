"""What swaps should be, where that is known: rendered anew from factors, or another clip of the same set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffsda.data.sprites.design import DYNAMIC, STATIC, target_rows
from diffsda.data.synthetic import series, shapes, tones
from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

RENDERED = {"moving_shapes": shapes.swap_target, "tones": tones.swap_target, "series": series.swap_target}


def truth(clips: Clips, giver: Array, taker: Array) -> Array | None:
    """Return what each swap should be (N, V, ...), in the units of ``clips``, or None where nobody can know.

    clips: as they were brought, a whole split. giver, taker: rows (N,) of what lends the static factor, and the
    dynamics.
    """
    if {*STATIC, *DYNAMIC} <= set(clips.labels):
        try:
            return np.asarray(clips.x[target_rows(clips.labels, giver, taker)])
        except InputError:
            return None  # a part of a split holds some of its swaps only
    if clips.name in RENDERED and {"static", "dynamic"} <= set(clips.factors):
        return RENDERED[clips.name](clips.select(giver), clips.select(taker))
    return None
