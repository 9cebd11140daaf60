"""Changes of colour, as one matrix: the same numbers whichever loader applies them."""

from __future__ import annotations

import math

import numpy as np

from diffsda.data.check import Array
from diffsda.data.video.view import Plan

GREY = 128.0
"""The level that contrast leaves alone."""
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
"""RGB to NTSC luma and chroma, in which a hue is an angle and saturation a length."""


def recolour(frames: Array, plan: Plan) -> Array:
    """Change brightness, contrast, saturation and hue as planned.

    Shapes: (V, H, W, 3) uint8 in and out; rounded, cut off at 0 and 255.
    """
    matrix, shift = colour_matrix(plan)
    changed = frames.astype(np.float32) @ matrix.T.astype(np.float32) + np.float32(shift)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def colour_matrix(plan: Plan) -> tuple[Array, float]:
    """Return the (3, 3) matrix and the shift that change a pixel's RGB from 0 to 255.

    Saturation and hue act on chroma, then contrast about grey, then brightness as a factor on all of it.
    Differs: the authors' training applies the four one after the other in random order.
    """
    angle = math.radians(plan.hue)
    turn = np.eye(3)
    turn[1:, 1:] = plan.saturation * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    matrix = plan.brightness * plan.contrast * np.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ
    return matrix, plan.brightness * GREY * (1 - plan.contrast)
