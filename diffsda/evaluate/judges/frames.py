"""Clips as the pictures that judges of images look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsda.errors import InputError
from diffsda.evaluate.judges.kinds import Array, Floats, Frames
from diffsda.evaluate.lengths import mask, valid


def to_frames(clips: Array, lengths: Array | None = None) -> Frames:
    """Return the valid frames of all clips one after the other, as 8-bit RGB pictures (M, H, W, 3).

    clips: (N, V, C, H, W) in [-1, 1], grey (C = 1) or RGB; what lies outside is cut off. lengths: (N,).
    Raises: InputError for other shapes or values that are not finite.
    """
    clips = np.asarray(clips)
    if clips.ndim != 5 or clips.shape[2] not in (1, 3):
        raise InputError(f"clips: got shape {clips.shape}, expected video (N, V, C, H, W), grey or RGB")
    kept = clips[mask(valid(lengths, *clips.shape[:2]), clips.shape[1])]  # (M, C, H, W)
    if not np.isfinite(kept).all():
        raise InputError("clips: got pixels that are not finite, expected values in [-1, 1]")
    bytes_ = np.clip(np.rint((kept.astype(np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
    rgb = bytes_ if clips.shape[2] == 3 else np.repeat(bytes_, 3, axis=1)
    return np.ascontiguousarray(rgb.transpose(0, 2, 3, 1))


def by_clip(rows: Floats, lengths: Array | None, clips: int, frames: int) -> Floats:
    """Lay what was said of single frames (M, ...) out by clip (N, V, ...), NaN in the padding.

    Raises: InputError if M is not the number of valid frames.
    """
    keep: NDArray[np.bool_] = mask(valid(lengths, clips, frames), frames)
    if len(rows) != keep.sum():
        raise InputError(f"frames: got {len(rows)} rows, expected {int(keep.sum())}, one a valid frame")
    out: NDArray[Any] = np.full((clips, frames, *rows.shape[1:]), np.nan)
    out[keep] = rows
    return out


def enlarged(frame: Frames, side: int) -> tuple[Frames, Floats]:
    """Return a frame (H, W, 3) with a shorter side of at least ``side`` pixels, and how many times it grew in x and y.

    Detectors miss faces below some 80 pixels. ``shrunk`` takes points back.
    """
    from PIL import Image

    high, wide = frame.shape[:2]
    times = side / min(high, wide)
    if times <= 1:
        return frame, np.ones(2)
    size = (round(wide * times), round(high * times))
    picture = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(picture), np.array([size[0] / wide, size[1] / high])


def shrunk(points: Floats, times: Floats) -> Floats:
    """Return points (..., 2) of an enlarged frame in pixels of the frame it was made from; pixel centres are whole."""
    return (points + 0.5) / times - 0.5
