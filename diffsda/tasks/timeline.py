"""Clips and factors at other moments than they were taken at: linearly between frames, or from the nearest one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffsda.data.check import Array
from diffsda.errors import InputError


def evenly(frames: int, count: int) -> Array:
    """Return ``count`` moments spread evenly over ``frames`` frames, the first and the last among them.

    Moments are counted in frames, from 0; as many moments as frames are the frames themselves, to the bit.
    Raises: InputError for fewer than one frame or moment.
    """
    if frames < 1 or count < 1:
        raise InputError(f"moments: got {count} over {frames} frames, expected at least one of each")
    if count == 1:
        return np.zeros(1)
    # Whole numbers are multiplied before they are divided, so that frames that are hit are hit exactly.
    return np.arange(count) * (frames - 1) / (count - 1)


def linear(z: Tensor, moments: Array) -> Tensor:
    """Return the values of a sequence between its frames; where a moment is a frame, that frame's own, to the bit.

    Shapes: z (V, ...); moments (n,) from 0 to V - 1 -> (n, ...).
    Raises: InputError for moments before the first frame or past the last.
    """
    if len(moments) and not 0 <= float(np.min(moments)) <= float(np.max(moments)) <= len(z) - 1:
        raise InputError(f"moments: got {np.min(moments):g} to {np.max(moments):g}, expected 0 to {len(z) - 1}")
    low = np.floor(moments).astype(np.int64)
    high = np.minimum(low + 1, len(z) - 1)
    share = torch.as_tensor(moments - low).to(z).reshape(-1, *(1,) * (z.ndim - 1))
    return torch.lerp(z[torch.from_numpy(low)], z[torch.from_numpy(high)], share)


def nearest(moments: Array) -> Array:
    """Return the frame nearest to each moment, the earlier of two that are as near."""
    return np.ceil(np.asarray(moments) - 0.5).astype(np.int64)
