"""The factors of a whole data set, in memory or read from disk as it goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from diffsda.data.clip import Clips
from diffsda.disentangler import Disentangler
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.firststage.clips import whitened
from diffsda.tasks.batches import lengths_of, slices

if TYPE_CHECKING:
    from diffsda.data.stream import Stream

Watch = Callable[[Iterable[Any], int], Iterable[Any]]


def unwatched(parts: Iterable[Any], total: int) -> Iterable[Any]:
    """Watch nothing."""
    return parts


@torch.no_grad()
def gather(
    model: Disentangler, data: Clips | Stream, *, as_is: bool = False, batch: int = 64, watch: Watch = unwatched
) -> Factors:
    """Encode every clip once, at its fixed view; raw clips in, factors on the CPU out.

    ``as_is``: the clips are in the model's units already. Clips on disk are read a batch at a time. ``watch`` is given
    the batches and their number.
    Raises: InputError if there is no clip, or clips do not fit the model.
    """
    if not len(data):
        raise InputError(f"clips {data.name}: got none, expected at least one")
    whitening = None if as_is else model.whitening
    parts = list(slices(len(data), batch))
    found = []
    with model.evaluating():
        for x, lengths in watch(_batches(data, parts, whitening), len(parts)):
            found.append(model.encode(x, lengths).to("cpu"))
    return Factors(torch.cat([f.static for f in found]), torch.cat([f.dynamic for f in found]))


def cut(clips: Clips, frames: int | None) -> tuple[Clips, int]:
    """Return clips that all have V frames, and how many were left out: their first ``frames``, or as they are.

    Raises: InputError if clips vary in length and ``frames`` is left open, or no clip is that long.
    """
    lengths = np.full(len(clips), clips.frames) if clips.lengths is None else np.asarray(clips.lengths)
    if frames is None:
        if lengths.min() != lengths.max():
            raise InputError(
                f"clips {clips.name}: got lengths from {lengths.min()} to {lengths.max()} frames, expected all alike; "
                f"say --frames V to take the first V of every clip that has them (--frames {lengths.min()} keeps all)"
            )
        frames = int(lengths[0])
    if frames < 2:
        raise InputError(f"--frames: got {frames}, expected at least 2: one frame has nothing that changes")
    long = lengths >= frames
    if not long.any():
        raise InputError(f"--frames: got {frames}, but the longest clip of {clips.name} has {lengths.max()}")
    held = clips.select(np.flatnonzero(long))
    labels = {name: label[:, :frames] if label.ndim == 2 else label for name, label in held.labels.items()}
    factors = {name: f[:, :frames] if f.ndim == 3 else f for name, f in held.factors.items()}
    mask = None if held.mask is None else held.mask[:, :frames]
    whole = dataclasses.replace(held, x=held.x[:, :frames], lengths=None, mask=mask, labels=labels, factors=factors)
    return whole, int((~long).sum())


def _batches(data: Clips | Stream, parts: list[slice], whitening: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(data, Clips):
        ready = whitened(data, whitening)
        yield from ((ready.x[rows], lengths_of(ready, rows)) for rows in parts)
        return
    from diffsda.data.stream import Take

    takes = ([Take(item) for item in range(rows.start, rows.stop)] for rows in parts)
    for x in data.batches(takes):
        yield (x if whitening is None else whitening.apply(x)), None
