"""Decoded frames into a model's pixels: fitted to a square, recoloured, mirrored, scaled to [-1, 1]."""

from __future__ import annotations

import math

import numpy as np

from diffsda.data.check import Array
from diffsda.data.video.augment import recolour
from diffsda.data.video.view import Plan


def clip_of(frames: Array, plan: Plan, size: int) -> Array:
    """Return the clip that a plan makes of its frames.

    Shapes: frames (V, H, W, 3) uint8 in rising order; the clip (V, 3, size, size) float32 in [-1, 1].
    """
    square = fit(frames, size)
    if plan.recoloured:
        square = recolour(square, plan)
    if plan.mirror:
        square = square[:, :, ::-1]
    if plan.backwards:
        square = square[::-1]
    clip = np.multiply(square.transpose(0, 3, 1, 2), np.float32(1 / 127.5), dtype=np.float32, order="C")
    clip -= 1
    return clip


def fit(frames: Array, size: int) -> Array:
    """Scale the shorter side to ``size`` and cut the centre square out.

    Bilinear with antialiasing, rounded to whole numbers: what Pillow does, and so the authors' data sets.
    Shapes: (V, H, W, 3) uint8 -> (V, size, size, 3) uint8.
    """
    from PIL import Image

    height, width = frames.shape[1:3]
    tall, wide = fitted(height, width, size)
    top, left = (math.floor((side - size) / 2 + 0.5) for side in (tall, wide))
    if (tall, wide) != (height, width):
        scaled = [Image.fromarray(frame).resize((wide, tall), Image.Resampling.BILINEAR) for frame in frames]
        frames = np.stack([np.asarray(image) for image in scaled])
    return frames[:, top : top + size, left : left + size]


def fitted(height: int, width: int, size: int) -> tuple[int, int]:
    """Return height and width once the shorter side is ``size``."""
    shorter = min(height, width)
    tall, wide = (math.floor(side * size / shorter + 0.5) for side in (height, width))
    return tall, wide
