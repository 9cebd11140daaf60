"""Labels of whole clips: those that are one a clip, and those of frames that never change within one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Ints, mask, valid

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


def clip_label(clips: Clips, name: str) -> Ints:
    """Return a label (N,) of whole clips, -1 where it is not known.

    A label of frames (N, V) counts where no clip shows two values of it.
    Raises: InputError if the clips do not have it, or it changes within one.
    """
    if name not in clips.labels:
        known = ", ".join(clips.labels) or "no labels"
        raise InputError(f"label: got {name!r}, expected one of those of {clips.name}: {known}")
    label = clips.labels[name]
    if label.ndim == 1:
        return label
    kept = mask(valid(clips.lengths, *label.shape), label.shape[1])
    changes = (kept & (label != label[:, :1])).any(axis=1)
    if changes.any():
        raise InputError(
            f"label {name}: changes within {int(changes.sum())} of {len(label)} clips (the first is clip "
            f"{int(changes.argmax())}), expected one value a clip; leave it out"
        )
    return label[:, 0]


def usable(parts: Sequence[Clips], names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return which labels are of whole clips in all parts, and why the others are left out, in words.

    Raises: InputError if a part lacks one.
    """
    kept, reasons = [], []
    for name in names:
        for clips in parts:
            if name not in clips.labels:
                clip_label(clips, name)
        try:
            for clips in parts:
                clip_label(clips, name)
            kept.append(name)
        except InputError as error:
            reasons.append(str(error))
    return tuple(kept), "; ".join(reasons)


def table(clips: Clips, names: Sequence[str]) -> dict[str, Ints]:
    """Return labels (N,) by name. Raises: InputError, as ``clip_label``."""
    return {name: clip_label(clips, name) for name in names}


def labelled(labels: Mapping[str, Array], clips: int) -> Array:
    """Return (N,) booleans: which clips have a value of every label."""
    known = np.ones(clips, bool)
    for label in labels.values():
        known &= np.asarray(label) >= 0
    return known
