"""Labels of whole clips: those that are one a clip, and those of frames that never change within one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Ints, mask, valid

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

UNKNOWN = -1
"""What stands where a label is not known."""


def clip_label(clips: Clips, name: str) -> Ints:
    """Return a label (N,) of whole clips, -1 where it is not known.

    A label of frames (N, V) counts where no clip shows two values of it; frames in which it is not known say nothing.
    Raises: InputError if the clips do not have it, or it changes within one.
    """
    if name not in clips.labels:
        known = ", ".join(clips.labels) or "no labels"
        raise InputError(f"label: got {name!r}, expected one of those of {clips.name}: {known}")
    label = clips.labels[name]
    return label if label.ndim == 1 else one_a_clip(name, label, valid(clips.lengths, *label.shape))


def one_a_clip(name: str, label: Array, lengths: Ints) -> Ints:
    """Return the one value (N,) that a label of frames has in each clip, -1 where no frame's is known.

    Shapes: label (N, V), -1 where a frame's is not known, which is passed over as padding is; lengths (N,).
    Raises: InputError if a clip has two values.
    """
    known = mask(lengths, label.shape[1]) & (label != UNKNOWN)
    rows = np.arange(len(label))
    value = np.where(known.any(axis=1), label[rows, known.argmax(axis=1)], UNKNOWN)
    if (changing := np.flatnonzero((known & (label != value[:, None])).any(axis=1))).size:
        raise InputError(
            f"label {name}: changes within {changing.size} of {len(label)} clips (clip {changing[0]} first), "
            "expected one value a clip; leave it out"
        )
    return value.astype(np.int64)


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


def agree(fit: Clips, test: Clips, names: Sequence[str]) -> None:
    """Check that classes of labels, which are matched by number, are called the same on both sides.

    A side that has no names of a label's classes is not asked.
    Raises: InputError where both have them and they differ.
    """
    for name in names:
        ours, theirs = (tuple(clips.label_names.get(name, ())) for clips in (fit, test))
        if not ours or not theirs or ours == theirs:
            continue
        for number, (one, other) in enumerate(itertools.zip_longest(ours, theirs, fillvalue="nothing")):
            if one != other:
                raise InputError(
                    f"label {name}: class {number} is {one} in {fit.name}, which is fitted on, and {other} in "
                    f"{test.name}, expected the same classes in the same order; prepare both with the same names"
                )


def table(clips: Clips, names: Sequence[str]) -> dict[str, Ints]:
    """Return labels (N,) by name. Raises: InputError, as ``clip_label``."""
    return {name: clip_label(clips, name) for name in names}


def labelled(labels: Mapping[str, Array], clips: int) -> Array:
    """Return (N,) booleans: which clips have a value of every label."""
    known = np.ones(clips, bool)
    for label in labels.values():
        known &= np.asarray(label) >= 0
    return known
