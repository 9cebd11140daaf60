"""From items of a job to clips in the model's units, and back to the units people use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch

from diffsda import check
from diffsda.disentangler import Disentangler
from diffsda.errors import InputError
from diffsda.export.infer.contents import Contents
from diffsda.export.infer.job import Item
from diffsda.export.infer.pixels import Pixels
from diffsda.export.infer.sources import read
from diffsda.firststage.clips import raw, whitened
from diffsda.firststage.whiten import Whitening

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that could not be worked on, and why, in one line."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A clip ready for the model, or the two donors of a swap: each (V, ...) float32, whole, in the model's units."""

    key: str
    clips: tuple[Array, ...]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """What must be alike for clips to be worked on together."""
        return tuple(clip.shape for clip in self.clips)

    @property
    def bytes(self) -> int:
        """Memory the clips take."""
        return sum(clip.nbytes for clip in self.clips)


class Loader:
    """Load items for a model. A clip shorter than its file's longest is cut to its length: no padding is left.

    ``as_is``: clips are in the model's units already, and results stay there. ``pixels``: clips are the first stage's.
    """

    def __init__(self, model: Disentangler, *, as_is: bool, pixels: Pixels | None = None) -> None:
        self.recipe, self.pixels = model.recipe if pixels is None else pixels.recipe, pixels
        # A first stage's latents are whitened where they are made.
        self.whitening: Whitening | None = None if as_is or pixels is not None else model.whitening

    @staticmethod
    def units(items: tuple[Item, ...]) -> Iterator[list[Item]]:
        """Yield items that are read together: neighbours of one batch file, and every other one by itself."""
        for rows, group in groupby(items, key=lambda item: (item.paths, item.row is None)):
            if rows[1]:
                yield from ([item] for item in group)
            else:
                yield list(group)

    def load(self, unit: list[Item]) -> Iterator[Loaded | Failure]:
        """Yield the clips of items that share their files, each file read once; what is broken fails by itself."""
        try:
            files = [read(path, self.recipe.clips) for path in unit[0].paths]
        except InputError as error:
            yield from (Failure(item.key, str(error)) for item in unit)
            return
        for item in unit:
            try:
                clips = tuple(self._clip(file, item.row) for file in files)
            except InputError as error:
                yield Failure(item.key, str(error))
            else:
                yield Loaded(item.key, clips)

    def restored(self, clip: Array) -> Array:
        """Return a clip (V, ...) of the model, or several (A, V, ...), in the units people use."""
        if self.whitening is None:
            return clip
        frame = 3 if self.recipe.video else 1
        several: Array = raw(clip.reshape(-1, *clip.shape[-1 - frame :]), self.whitening)
        return several.reshape(clip.shape)

    def _clip(self, file: Contents, row: int | None) -> Array:
        try:
            if row is None and len(file.x) != 1:
                raise InputError(f"got {len(file.x)} clips, expected one")
            if self.pixels is not None and file.x.dtype == np.uint8 and file.lengths is None and file.mask is None:
                return self._bytes(file, row or 0)
            one = file.clip(row or 0)
            check.clips(one.x, self.recipe, device=torch.device("cpu"), dtype=torch.float32)
        except InputError as error:
            raise InputError(f"{file.path}{'' if row is None else f' clip {row}'}: {error}") from None
        ready: Array = whitened(one, self.whitening).x[0]
        return ready if one.lengths is None else ready[: int(one.lengths[0])]

    def _bytes(self, file: Contents, row: int) -> Array:
        """Return a clip of bytes as it is, a quarter of what its floats would take."""
        form = self.recipe.clips
        x: Array = file.row(row)
        if x.ndim != 4 or len(x) < 2 or x.shape[1:] != (form.channels, form.size, form.size):
            raise InputError(
                f"x: got bytes {x.shape}, expected at least 2 frames ({form.channels}, {form.size}, {form.size})"
            )
        return x
