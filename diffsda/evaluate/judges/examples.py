"""What a reader is trained on: clips and labels, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import UNKNOWN, one_a_clip
from diffsda.evaluate.judges.cache import digest
from diffsda.evaluate.judges.kinds import Array, Floats
from diffsda.evaluate.lengths import mask, valid

REVISION = 1
"""Raised when the same clips, labels and settings give another judge than before."""
SMALLEST = 8
"""Pixels of the shorter side below which a picture is none."""


@dataclass(frozen=True)
class Examples:
    """Clips with labels that can be learned.

    Shapes: clips (N, V, C, H, W) or (N, V, F) float32; lengths (N,); labels (N,) by factor, -1 = unknown.
    """

    clips: Array
    lengths: Array
    labels: dict[str, Array]
    factors: dict[str, tuple[str, ...]]
    """For each factor the names of its classes."""
    frame_labels: tuple[str, ...]

    @classmethod
    def of(
        cls,
        clips: Array,
        labels: Mapping[str, Array],
        lengths: Array | None = None,
        names: Mapping[str, tuple[str, ...]] | None = None,
        frame_labels: tuple[str, ...] = (),
    ) -> Examples:
        """Check clips and labels; see ``SequenceJudge.fit``.

        Raises: InputError.
        """
        clips, count = checked(clips, lengths)
        if not labels:
            raise InputError("reader: got no labels, expected one factor at least")
        held = {name: clip_labels(name, label, count, clips.shape[1]) for name, label in labels.items()}
        factors = {name: _classes(name, y, (names or {}).get(name)) for name, y in held.items()}
        if unknown := [name for name in frame_labels if name not in factors]:
            raise InputError(f"frame_labels: got {unknown[0]!r}, expected some of {', '.join(factors)}")
        return cls(clips, count, held, factors, tuple(frame_labels))

    def key(self, seed: int, settings: Any) -> str:
        """Return a SHA-256 of everything that decides what a judge of these examples becomes."""
        about = (REVISION, seed, sorted(asdict(settings).items()), list(self.factors.items()), self.frame_labels)
        total = hashlib.sha256(digest(self.clips, about))
        for array in (self.lengths, *self.labels.values()):
            total.update(digest(array))
        return total.hexdigest()


def checked(clips: Array, lengths: Array | None) -> tuple[Array, Array]:
    """Return clips as float32 with zeros in the padding, and the lengths of all.

    Raises: InputError for other shapes than (N, V, C, H, W) or (N, V, F), small pictures, or values that are not
    finite.
    """
    given = np.asarray(clips)
    if given.ndim not in (3, 5):
        raise InputError(f"reader: got clips {given.shape}, expected video (N, V, C, H, W) or vectors (N, V, F)")
    if given.ndim == 5 and min(given.shape[3:]) < SMALLEST:
        raise InputError(f"reader: got pictures of {given.shape[3:]} pixels, expected {SMALLEST} a side at least")
    count = valid(lengths, *given.shape[:2])
    keep = mask(count, given.shape[1])
    held = np.ascontiguousarray(given, np.float32)
    if not keep.all():
        held = np.where(keep.reshape(*keep.shape, *[1] * (held.ndim - 2)), held, np.float32(0))
    if not np.isfinite(held).all():
        raise InputError("reader: got values that are not finite in clips, expected numbers only")
    return held, count


def clip_labels(name: str, label: Array, lengths: Array, frames: int) -> Array:
    """Return a label (N,) of clips from one (N,), or one (N, V) that does not change within a clip.

    Raises: InputError if it changes, or does not fit the clips.
    """
    given = np.asarray(label)
    if given.dtype.kind not in "iub" or given.shape not in ((len(lengths),), (len(lengths), frames)):
        raise InputError(
            f"label {name!r}: got {given.dtype} of shape {given.shape}, expected whole numbers ({len(lengths)},), "
            f"or ({len(lengths)}, {frames}) that are constant over a clip"
        )
    given = given.astype(np.int64)
    return given if given.ndim == 1 else one_a_clip(name, given, lengths)


def share(probabilities: Floats, labels: Array) -> float:
    """Return the share of known labels (...) that are the likeliest class of (..., classes); NaN if none is known."""
    known = (labels != UNKNOWN) & np.isfinite(probabilities).all(axis=-1)
    if not known.any():
        return float("nan")
    return float(np.mean(probabilities[known].argmax(axis=-1) == labels[known]))


def _classes(name: str, labels: Array, names: tuple[str, ...] | None) -> tuple[str, ...]:
    present = np.unique(labels[labels != UNKNOWN])
    if present.size and present[0] < 0:
        raise InputError(f"label {name!r}: got {present[0]}, expected classes from 0 on, or -1 where unknown")
    if present.size < 2:
        raise InputError(f"label {name!r}: got {present.size} classes to learn from, expected two at least")
    if names is None:
        return tuple(str(i) for i in range(int(present[-1]) + 1))
    if present[-1] >= len(names):
        raise InputError(f"label {name!r}: got class {present[-1]}, expected at most {len(names) - 1}: so many names")
    return tuple(names)
