"""The frames a first stage is fitted on: those of a step are a function of the seed and the step alone."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from diffsda.data.clip import Clips
from diffsda.data.stream import Stream, Take
from diffsda.errors import InputError
from diffsda.firststage.recipe import FirstStage
from diffsda.train.order import Order, seed_for

if TYPE_CHECKING:
    from diffsda.data.check import Array

TAKE_WORD, FRAME_WORD, FLIP_WORD = 11, 12, 13
"""Last words of the seeds for what is taken of an item, which of its frames, and which frames are mirrored."""


class Frames(Protocol):
    """Frames (C, H, W) in [-1, 1], dealt out in batches."""

    def batches(self, steps: Iterable[int]) -> Iterator[Tensor]:
        """Yield the frames (batch, C, H, W) of each step."""
        ...

    def shown(self, most: int) -> Tensor:
        """Return a few frames from all over the set, always the same."""
        ...

    def describe(self) -> str:
        """Say in one line what the frames are and how they are read."""
        ...

    def fingerprint(self) -> str:
        """Return a text that another set of frames would not give."""
        ...


def frames_of(data: Clips | Stream, stage: FirstStage, *, batch: int, seed: int) -> Frames:
    """Return what deals out the frames of clips in memory, or of a stream.

    Raises: InputError for clips that are not pixels in [-1, 1] of the first stage's channels and size.
    """
    shape = data.x.shape[1:] if isinstance(data, Clips) else data.shape
    wanted = (stage.channels, stage.size, stage.size)
    if tuple(shape[1:]) != wanted:
        raise InputError(
            f"{data.name}: got clips {tuple(shape)}, expected (V, {', '.join(map(str, wanted))}); change net.channels "
            "or net.size, or prepare the data in that size"
        )
    return FramesInMemory(data, batch, seed) if isinstance(data, Clips) else FramesRead(data, batch, seed)


class FramesInMemory:
    """Every frame of clips in memory, padding left out; all of them once, then again in another order."""

    def __init__(self, clips: Clips, batch: int, seed: int) -> None:
        if clips.mask is not None:
            raise InputError(f"{clips.name}: got frames with missing values, expected whole frames to fit on")
        self.clips = clips
        lengths = np.full(len(clips), clips.frames) if clips.lengths is None else clips.lengths
        inside = np.arange(clips.frames)[None] < lengths[:, None]
        self.places = np.argwhere(inside)  # (frames, 2): clip, frame
        low, high = float(clips.x.min()), float(clips.x.max())
        if low < -1.001 or high > 1.001:
            raise InputError(f"{clips.name}: got pixels from {low:.4g} to {high:.4g}, expected them in [-1, 1]")
        self.order = Order(len(self.places), batch, seed)

    def batches(self, steps: Iterable[int]) -> Iterator[Tensor]:
        """Yield the frames (batch, C, H, W) of each step."""
        for step in steps:
            yield self._frames(self.places[self.order.indices(step)])

    def shown(self, most: int) -> Tensor:
        """Return some frames, evenly spaced over the set."""
        return self._frames(self.places[np.unique(np.linspace(0, len(self.places) - 1, most).astype(int))])

    def describe(self) -> str:
        """Say in one line what the frames are and how they are read."""
        return f"{len(self.places)} frames of {len(self.clips)} clips, in memory"

    def fingerprint(self) -> str:
        """Return a text that another set of frames would not give."""
        return f"{len(self.places)} frames, {self._digest}"

    @functools.cached_property
    def _digest(self) -> str:
        # Kept: a run asks at every save, and gigabytes take seconds.
        return self.clips.fingerprint()[:16]

    def _frames(self, places: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.clips.x[places[:, 0], places[:, 1]]))


class FramesRead:
    """A frame of every item of a stream, drawn anew whenever the item comes up."""

    def __init__(self, stream: Stream, batch: int, seed: int) -> None:
        self.stream, self.seed = stream, seed
        self.order = Order(len(stream), batch, seed)

    def batches(self, steps: Iterable[int]) -> Iterator[Tensor]:
        """Yield the frames (batch, C, H, W) of each step."""
        steps = list(steps) if not isinstance(steps, range) else steps
        read = self.stream.batches(self._takes(step) for step in steps)
        for step, clips in zip(steps, read):
            # Of a clip longer than a frame one is taken; a stream opened for this has clips of one.
            which = [seed_for(self.seed, step, i, FRAME_WORD) % clips.shape[1] for i in range(len(clips))]
            yield _tensor(clips)[torch.arange(len(clips)), torch.tensor(which)]

    def shown(self, most: int) -> Tensor:
        """Return the first frames of some items, evenly spaced over the set."""
        items = np.unique(np.linspace(0, len(self.stream) - 1, most).astype(int)).tolist()
        return _tensor(next(iter(self.stream.batches([[Take(item) for item in items]]))))[:, 0].cpu()

    def describe(self) -> str:
        """Say in one line what the frames are and how they are read."""
        return f"a frame of each of {len(self.stream)} items: {self.stream.describe()}"

    def fingerprint(self) -> str:
        """Return a text that another set of frames would not give."""
        return f"{self.stream.name}, {len(self.stream)} items of {self.stream.shape}, {self._digest}"

    @functools.cached_property
    def _digest(self) -> str:
        return self.stream.fingerprint()[:16]

    def _takes(self, step: int) -> list[Take]:
        items = self.order.indices(step).tolist()
        return [Take(item, seed_for(self.seed, step, i, TAKE_WORD)) for i, item in enumerate(items)]


def mirrored(frames: Tensor, seed: int, step: int) -> Tensor:
    """Mirror half of the frames, which ones decided by seed and step."""
    draw = np.random.default_rng(seed_for(seed, step, FLIP_WORD)).random(len(frames)) < 0.5
    chosen = torch.from_numpy(draw).to(frames.device).view(-1, 1, 1, 1)
    return torch.where(chosen, frames.flip(-1), frames)


def _tensor(array: Array | Tensor) -> Tensor:
    return array if isinstance(array, Tensor) else torch.from_numpy(array)
