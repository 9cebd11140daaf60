"""Clips of a set that a model was not trained on: what the model sees of them, and what comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.data.check import Array
from diffsda.errors import InputError
from diffsda.tasks.matching import Match, Way
from diffsda.tasks.pool import cut

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

FEATURES = ("rate", "hop", "mels", "n_fft", "fmin", "fmax")
"""What decides what a feature of sound means, by its name in a prepared folder's options."""


@dataclass(frozen=True)
class Borrowed:
    """Clips as their set has them, and in the form a model takes: both in people's units.

    Whitening and latent statistics are the model's business, and stay those of the set it was trained on.
    """

    original: Clips
    seen: Clips
    match: Match

    def back(self, x: Array) -> Array:
        """Return clips (N, V', ...) that came from the model, in the form of the originals (N, V, ...)."""
        return self.match.back(x, self.original.frames, self.original.lengths)

    def lost(self) -> float:
        """Return the mean squared error of the way there and back alone, without a model."""
        return apart(self.back(self.seen.x), self.original)


def borrow(
    clips: Clips,
    frame: tuple[int, ...],
    *,
    stride: int = 1,
    frames: int | None = None,
    rate: float = 1.0,
    way: Way = "area",
) -> tuple[Borrowed, int]:
    """Bring clips into a model's form; return also how many were left out for being shorter than ``frames``.

    ``frame`` is the shape of one frame the model takes, (C, H, W) or (F,). ``stride`` keeps one frame in so many,
    ``frames`` the first of these; what they leave is the original from then on. ``rate`` is the model's frames a second
    over those of what is left (see ``Match``).
    Raises: InputError for a stride below 1, clips too short for it, or frames that cannot be matched.
    """
    clips = strided(clips, stride)
    left_out = 0
    if frames is not None:
        clips, left_out = cut(clips, frames)
    match = Match(tuple(clips.x.shape[2:]), tuple(frame), rate, way)
    return Borrowed(clips, match.to(clips), match), left_out


def strided(clips: Clips, stride: int) -> Clips:
    """Return clips with one frame in ``stride``, the first among them.

    Raises: InputError for a stride below 1, or one that leaves a clip fewer than 2 frames.
    """
    if not isinstance(stride, int) or isinstance(stride, bool) or stride < 1:
        raise InputError(f"stride: got {stride!r}, expected a whole number of at least 1")
    if stride == 1:
        return clips
    shortest = clips.frames if clips.lengths is None else int(clips.lengths.min())
    if shortest <= stride:
        raise InputError(
            f"stride: got {stride} for a clip of {shortest} frames, expected at most {shortest - 1}, which leaves 2"
        )
    labels = {name: label[:, ::stride] if label.ndim == 2 else label for name, label in clips.labels.items()}
    return dataclasses.replace(
        clips,
        x=np.ascontiguousarray(clips.x[:, ::stride]),
        lengths=None if clips.lengths is None else -(-clips.lengths // stride),
        mask=None if clips.mask is None else clips.mask[:, ::stride],
        labels=labels,
        factors={},
    )


def apart(x: Array, clips: Clips) -> float:
    """Return the mean squared difference of x (N, V, ...) from clips, over what is neither padding nor missing.

    Raises: InputError for another shape, values that are not finite, or nothing to compare.
    """
    if x.shape != clips.x.shape:
        raise InputError(f"clips: got {x.shape}, expected {clips.x.shape} like the originals")
    total, entries = 0.0, 0
    for i, (a, b) in enumerate(zip(x, clips.x, strict=True)):
        n = clips.frames if clips.lengths is None else int(clips.lengths[i])
        gap = a[:n].astype(np.float64) - b[:n]
        if clips.mask is not None:
            gap = gap[clips.mask[i, :n] != 1]
        total += float(np.vdot(gap, gap))
        entries += gap.size
    if not entries or not np.isfinite(total):
        raise InputError(f"clips {clips.name}: got {entries} values of sum {total:g}, expected finite ones to compare")
    return total / entries


def same_features(data: Mapping[str, Any], own: Mapping[str, Any], *, data_name: str, own_name: str) -> tuple[str, ...]:
    """Return which settings of spectra were compared: those that the options of both sets name, if both name bands.

    Raises: InputError if one differs: a feature of the same number would be another sound.
    """
    # A rate without bands is that of the recordings, not of what the spectra were taken from.
    spectra = "mels" in data and "mels" in own
    both = tuple(name for name in FEATURES if spectra and name in data and name in own)
    for name in both:
        if data[name] != own[name]:
            raise InputError(
                f"features: got {name} {data[name]} in {data_name}, expected {own[name]} as in {own_name}, which the "
                "model was trained on; prepare the set with the same settings"
            )
    return both
