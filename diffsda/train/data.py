"""Clips as the training step wants them: whitened tensors, with padding and missing values at 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.firststage.clips import whitened
from diffsda.firststage.whiten import Whitening
from diffsda.recipe import AnyRecipe

if TYPE_CHECKING:
    from diffsda.data.stream import Stream


@dataclass(frozen=True)
class Batch:
    """Some clips and what is known about them.

    Shapes: x (B, V, ...), lengths (B,) or None, mask like x or None.
    Where a process reads only its own clips, x begins with clip ``first`` of a batch of ``whole``.
    """

    x: Tensor
    lengths: Tensor | None = None
    mask: Tensor | None = None
    first: int = 0
    whole: int | None = None

    def rows(self, rows: slice) -> Batch:
        """Return some of the clips, by their place in the whole batch."""
        rows = slice(rows.start - self.first, rows.stop - self.first)
        return Batch(
            self.x[rows],
            None if self.lengths is None else self.lengths[rows],
            None if self.mask is None else self.mask[rows],
        )

    def to(self, device: torch.device) -> Batch:
        """Move everything to a device, without waiting for it."""
        return self._each(lambda t: t.to(device, non_blocking=True))

    def pin(self) -> Batch:
        """Copy everything to page-locked memory, from which a device fetches while the host goes on."""
        return self._each(lambda t: t if t.is_cuda else t.pin_memory())

    def clone(self) -> Batch:
        """Copy everything."""
        return self._each(Tensor.clone)

    def padded(self, frames: int) -> Batch:
        """Pad the clips with 0 to V = ``frames``, so that every batch has one shape."""
        more = frames - self.x.shape[1]
        if self.lengths is None or more <= 0:
            return self

        def pad(t: Tensor) -> Tensor:
            return t if t is self.lengths else torch.cat([t, t.new_zeros(t.shape[0], more, *t.shape[2:])], dim=1)

        return self._each(pad)

    def tensors(self) -> list[Tensor]:
        """Return what there is: x, lengths, mask."""
        return [t for t in (self.x, self.lengths, self.mask) if t is not None]

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        lengths, mask = (None if t is None else change(t) for t in (self.lengths, self.mask))
        return Batch(change(self.x), lengths, mask, self.first, self.whole)

    @property
    def shape(self) -> torch.Size:
        """Shape (B, V, ...) of the whole batch."""
        return torch.Size((self.whole or self.x.shape[0], *self.x.shape[1:]))

    @property
    def frames(self) -> int:
        """Number of frames of the whole batch that are not padding."""
        return self.shape[0] * self.shape[1] if self.lengths is None else int(self.lengths.sum())

    @property
    def elements(self) -> int:
        """Number of values that are not padding."""
        return self.frames * self.x[0, 0].numel()


@dataclass(frozen=True)
class Ready:
    """A step's clips where the step wants them: what this process works on, a part at a time, on its device.

    ``shape`` (B, V, ...), ``frames`` and ``elements`` are those of the whole batch, over all processes and parts.
    """

    shape: torch.Size
    frames: int
    elements: int
    parts: tuple[Batch, ...]

    @classmethod
    def of(cls, batch: Batch, parts: Sequence[slice], device: torch.device, *, pin: bool = False) -> Ready:
        """Take this process's parts of a batch to the device."""
        own = [batch.rows(rows) for rows in parts]
        if pin:
            own = [part.pin() for part in own]
        return cls(batch.shape, batch.frames, batch.elements, tuple(part.to(device) for part in own))

    def tensors(self) -> list[Tensor]:
        """Return everything that is on the device."""
        return [t for part in self.parts for t in part.tensors()]


def fits(clips: Clips | Stream, recipe: AnyRecipe) -> None:
    """Refuse clips of another kind than the recipe's.

    Raises: InputError naming the clips' shape and what the recipe expects.
    """
    want = recipe.clips
    video = recipe.video
    frame = (want.channels, want.size, want.size) if video else (want.channels,)
    shape = tuple(clips.x.shape) if isinstance(clips, Clips) else (len(clips), *clips.shape)
    if shape[2:] != frame:
        of = "" if recipe.system == "diffsda" else f" of {recipe.system}"
        raise InputError(
            f"clips {clips.name}: got {shape}, expected (N, V, {', '.join(map(str, frame))}) for "
            f"recipe {recipe.name}{of}; change clips.channels{' or clips.size' if video else ''} or the data"
        )


def whitening_for(clips: Clips | Stream, recipe: AnyRecipe, whiten: bool | None) -> Whitening | None:
    """Measure the whitening of a training set, where the model wants one; a stream's was measured when it was prepared.

    Left open (None), vectors and latents are whitened and pixels are taken as they are.
    Raises: InputError for a stream that is to be whitened and was not measured.
    """
    if whiten is None:
        whiten = recipe.clips.modality != "video" or recipe.clips.latent
    if not isinstance(clips, Clips):
        if whiten and clips.statistics is None:
            raise InputError(
                f"clips {clips.name}: got no statistics to whiten with, expected them in its dataset.json; prepare the "
                "set again, or say --no-whiten"
            )
        return Whitening(*clips.statistics) if whiten and clips.statistics is not None else None
    return Whitening.measure(clips.x, clips.lengths, clips.mask) if whiten else None


class Source:
    """Whitened clips in memory, dealt out by index."""

    def __init__(self, clips: Clips, whitening: Whitening | None) -> None:
        ready = whitened(clips, whitening)
        self.x = torch.from_numpy(ready.x)
        self.lengths = None if ready.lengths is None else torch.from_numpy(np.asarray(ready.lengths))
        self.mask = None if ready.mask is None else torch.from_numpy(np.asarray(ready.mask))

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def frames(self) -> int:
        """Return V of the longest clip."""
        return self.x.shape[1]

    def describe(self) -> str:
        """Say in one line where the clips are."""
        return "in memory"

    def batch(self, indices: np.ndarray) -> Batch:
        """Return these clips, cut to the longest of them."""
        rows = torch.from_numpy(indices)
        lengths = None if self.lengths is None else self.lengths[rows]
        frames = self.x.shape[1] if lengths is None else int(lengths.max())
        mask = None if self.mask is None else self.mask[rows, :frames]
        return Batch(self.x[rows, :frames], lengths, mask)
