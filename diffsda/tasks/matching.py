"""Frames of one form as frames of another, and back: size, colour, frames a second."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from diffsda.data.check import Array
from diffsda.errors import InputError
from diffsda.tasks.timeline import linear, nearest

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

Way = Literal["area", "published"]
LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey. Source: ITU-R BT.601."""


def resized(x: Array, size: tuple[int, int], way: Way = "area") -> Array:
    """Return pictures of another height and width, stretched to fill it.

    ``area`` averages what a pixel covers where an axis shrinks, and is bilinear between middles of pixels where it
    grows; ``published`` takes the nearest pixel both ways. The size they have gives them back as they are.
    Shapes: x (..., H, W) -> (..., *size), float32.
    Source: the authors' zero-shot evaluation (published).
    Raises: InputError for another way.
    """
    if way not in ("area", "published"):
        raise InputError(f"way: got {way!r}, expected area or published")
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    flat = torch.from_numpy(np.ascontiguousarray(x, np.float32)).reshape(-1, 1, *x.shape[-2:])
    if way == "published":
        made = torch.nn.functional.interpolate(flat, size=size, mode="nearest")
    else:
        rows, columns = (torch.from_numpy(_shares(was, new)) for was, new in zip(x.shape[-2:], size, strict=True))
        made = torch.matmul(torch.matmul(rows, flat), columns.T)
    return made.reshape(*x.shape[:-2], *size).numpy()


def _shares(was: int, new: int) -> Array:
    """Return the weight of every old pixel in every new one along an axis (new, was)."""
    if new < was:
        edges = np.arange(new + 1) * was / new
        cells = np.arange(was)
        covered = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
        return (np.clip(covered, 0, None) * new / was).astype(np.float32)
    at = np.clip((np.arange(new) + 0.5) * was / new - 0.5, 0, was - 1)
    return np.clip(1 - np.abs(at[:, None] - np.arange(was)), 0, None).astype(np.float32)


def recoloured(x: Array, channels: int) -> Array:
    """Return pictures with another number of channels: grey repeated over colours, or colours weighed into grey.

    Shapes: x (N, V, C, H, W) with C 1 or 3 -> (N, V, channels, H, W).
    Raises: InputError for channels that are neither.
    """
    if x.shape[2] == channels:
        return x
    if {x.shape[2], channels} != {1, 3}:
        raise InputError(
            f"channels: got clips of {x.shape[2]} for a model of {channels}, expected as many, or grey (1) and colours "
            "(3)"
        )
    if channels == 3:
        return np.repeat(x, 3, axis=2)
    return np.tensordot(np.asarray(LUMA, np.float32), x, axes=(0, 2))[:, :, None]


@dataclass(frozen=True)
class Match:
    """The way from a set's frames into a model's, and back.

    ``given`` and ``wanted`` are shapes of one frame, (C, H, W) or (F,), of the set and of the model; ``rate`` is the
    model's frames a second over the set's. Frames that are not a picture must be alike already.
    In time, pictures and what has missing values are taken from the nearest frame, since blended pictures show two
    moments at once; vectors are taken linearly between frames.
    Raises: InputError for frames that cannot be matched, or rates that are not positive.
    """

    given: tuple[int, ...]
    wanted: tuple[int, ...]
    rate: float = 1.0
    way: Way = "area"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"rate: got {self.rate:g}, expected a positive number")
        if len(self.given) != len(self.wanted):
            kinds = ["pictures" if len(shape) == 3 else "vectors" for shape in (self.given, self.wanted)]
            raise InputError(f"clips: got {kinds[0]} {self.given}, expected {kinds[1]} {self.wanted} like the model's")
        if len(self.given) == 1 and self.given != self.wanted:
            raise InputError(
                f"clips: got vectors of {self.given[0]} features, expected {self.wanted[0]} like the model's: features "
                "have no order to match them by; prepare the set with the model's features"
            )
        if len(self.given) == 3 and self.given[0] != self.wanted[0] and {self.given[0], self.wanted[0]} != {1, 3}:
            raise InputError(
                f"clips: got pictures of {self.given[0]} channels, expected {self.wanted[0]} like the model's, or grey "
                "(1) for colours (3) and the other way round"
            )

    def count(self, frames: int) -> int:
        """Return how many frames a clip of so many has at the model's rate: as many as fit without going past its end.

        Raises: InputError if they are fewer than 2.
        """
        count = math.floor((frames - 1) * self.rate + 1e-9) + 1
        if count < 2:
            raise InputError(
                f"rate: got {frames} frames, which are {count} at the model's rate ({self.rate:g} of the clips'), "
                "expected at least 2; take longer clips"
            )
        return count

    def to(self, clips: Clips) -> Clips:
        """Return clips in the model's form. Labels of frames come along with the nearest frame."""
        x = clips.x
        if clips.video:
            x = resized(recoloured(x, self.wanted[0]), self.wanted[1:], self.way)  # type: ignore[arg-type]
        if self.rate == 1:
            # A mask of pictures does not survive their resizing; nothing reads it from here on.
            return dataclasses.replace(clips, x=x, mask=None if clips.video else clips.mask)
        lengths = np.full(len(clips), clips.frames) if clips.lengths is None else clips.lengths
        counts = np.array([self.count(int(n)) for n in lengths])
        moments = np.arange(counts.max()) / self.rate
        takes = [np.minimum(moments, n - 1) for n in lengths]
        near = np.stack([nearest(at) for at in takes])
        rows = np.arange(len(clips))[:, None]
        if clips.video or clips.mask is not None:
            x = x[rows, near]
        else:
            x = np.stack([linear(torch.from_numpy(c), at).numpy() for c, at in zip(x, takes, strict=True)])
        labels = {name: label[rows, near] if label.ndim == 2 else label for name, label in clips.labels.items()}
        mask = None if clips.mask is None or clips.video else clips.mask[rows, near]
        varied = None if clips.lengths is None else counts
        return dataclasses.replace(clips, x=x, lengths=varied, mask=mask, labels=labels, factors={})

    def back(self, x: Array, frames: int, lengths: Array | None = None) -> Array:
        """Return clips that came from the model in the set's form and at its moments, padding at 0.

        A moment past the model's last frame has that frame. Colours that the model does not have come back as grey.
        Shapes: x (N, V', ...); ``frames`` V and lengths (N,) of the set's clips -> (N, V, ...).
        """
        if self.rate != 1:
            made = np.zeros((len(x), frames, *x.shape[2:]), np.float32)
            for i, clip in enumerate(x):
                n = frames if lengths is None else int(lengths[i])
                at = np.minimum(np.arange(n) * self.rate, self.count(n) - 1)
                made[i, :n] = clip[nearest(at)] if x.ndim == 5 else linear(torch.from_numpy(clip), at).numpy()
            x = made
        if x.ndim == 5:
            x = resized(recoloured(x, self.given[0]), self.given[1:], self.way)  # type: ignore[arg-type]
        return x
