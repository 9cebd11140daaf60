"""Clips on their way into the model's units and back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from diffsda.firststage.whiten import Whitening

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


def whitened(clips: Clips, whitening: Whitening | None) -> Clips:
    """Return the clips in the model's units, with padding and missing values at 0."""
    x = clips.x if whitening is None else whitening.apply(clips.x)
    keep = np.ones(x.shape[:2], bool)
    if clips.lengths is not None:
        keep = np.arange(x.shape[1])[None] < clips.lengths[:, None]
    x = x * keep.reshape(keep.shape + (1,) * (x.ndim - 2))
    if clips.mask is not None:
        x = np.where(clips.mask == 1, 0, x)
    return dataclasses.replace(clips, x=x.astype(np.float32))


def raw(x: np.ndarray, whitening: Whitening | None, lengths: np.ndarray | None = None) -> np.ndarray:
    """Return arrays that came from the model in the units people brought, padding at 0.

    Shapes: x (N, V, ...), lengths (N,).
    """
    x = np.asarray(x if whitening is None else whitening.undo(x), np.float32)
    if lengths is None:
        return x
    keep = np.arange(x.shape[1])[None] < np.asarray(lengths)[:, None]
    return x * keep.reshape(keep.shape + (1,) * (x.ndim - 2))
