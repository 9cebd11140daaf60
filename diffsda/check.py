"""What the model accepts, checked where people hand arrays in; each refusal is one line."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.firststage.whiten import Whitening
from diffsda.recipe import AnyRecipe


def clips(x: Any, recipe: AnyRecipe, *, device: torch.device, dtype: torch.dtype, name: str = "x") -> Tensor:
    """Return a batch of clips as a tensor on the model's device.

    Shapes: x (B, V, C, H, W) for a video recipe, (B, V, F) for a vector one; any float type.
    Raises: InputError for another rank, channel count, frame size or type, an empty batch, a single frame, or
    (where looking costs no wait for the device) a value that is not finite.
    """
    try:
        x = torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"{name}: got {type(x).__name__}, expected an array or a tensor (of Clips, its x and lengths)"
        ) from None
    want = recipe.clips
    video = recipe.video
    expected = f"(B, V, {want.channels}, {want.size}, {want.size})" if video else f"(B, V, {want.channels})"
    given = tuple(x.shape)
    if x.ndim != (5 if video else 3):
        raise InputError(f"{name}: got {x.ndim} axes {given}, expected {'5' if video else '3'}: {expected}")
    if not x.is_floating_point():
        raise InputError(f"{name}: got type {x.dtype}, expected floating point (scale images to [-1, 1])")
    if x.shape[0] == 0:
        raise InputError(f"{name}: got an empty batch {given}, expected at least one clip")
    if x.shape[1] < 2:
        raise InputError(
            f"{name}: got {x.shape[1]} frame(s) {given}, expected at least 2: one frame has nothing that changes"
        )
    if x.shape[2] != want.channels:
        raise InputError(f"{name}: got {x.shape[2]} {'channels' if video else 'features'} {given}, expected {expected}")
    if video and tuple(x.shape[3:]) != (want.size, want.size):
        raise InputError(f"{name}: got frames of {x.shape[3]}x{x.shape[4]}, expected {want.size}x{want.size}")
    # A sum is finite where all values are, most often; it takes a fraction of the time.
    if x.device.type == "cpu" and not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
        where = (~torch.isfinite(x)).nonzero()[0].tolist()
        raise InputError(
            f"{name}: got {float(x[tuple(where)])} at {tuple(where)}, expected finite numbers "
            "(set missing values to 0 and mark them in a mask)"
        )
    return x.to(device, dtype)


def lengths(given: Any, x: Tensor, *, name: str = "lengths") -> Tensor | None:
    """Return the lengths (B,) as a tensor on x's device, or None.

    Raises: InputError if they are not B whole numbers from 2 to V.
    """
    if given is None:
        return None
    value = torch.as_tensor(given)
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise InputError(f"{name}: got type {value.dtype}, expected whole numbers of frames")
    if tuple(value.shape) != (x.shape[0],):
        raise InputError(f"{name}: got shape {tuple(value.shape)}, expected ({x.shape[0]},), one a clip")
    if value.device.type == "cpu":
        low, high = int(value.min()), int(value.max())
        if low < 2 or high > x.shape[1]:
            bad = low if low < 2 else high
            raise InputError(f"{name}: got {bad}, expected 2 to {x.shape[1]} (the frames of the batch)")
    return value.to(x.device, torch.int64)


def mask(given: Any, x: Tensor) -> Tensor | None:
    """Return the mask (like x, 1 = missing) as a tensor on x's device, or None.

    Raises: InputError if it is not of x's shape.
    """
    if given is None:
        return None
    value = torch.as_tensor(given)
    if value.shape != x.shape:
        raise InputError(
            f"mask: got {tuple(value.shape)}, expected {tuple(x.shape)} like the clips, 1 where a value is missing"
        )
    return value.to(x.device, x.dtype)


def whitening(given: Whitening | None, recipe: AnyRecipe) -> Whitening | None:
    """Return the statistics as they are, where they belong to the recipe's clips.

    Raises: InputError for another number of channels.
    """
    if given is not None and len(given.mean) != recipe.clips.channels:
        raise InputError(
            f"whitening: got statistics of {len(given.mean)} channels, expected {recipe.clips.channels} like the model"
        )
    return given
