"""Moving shapes: small videos whose static and dynamic factors are known exactly."""

from __future__ import annotations

import numpy as np

from diffsda.data.check import Array
from diffsda.data.clip import Clips
from diffsda.data.synthetic.items import check_whole, generators, pair_factors
from diffsda.errors import InputError

SHAPES = ("circle", "square", "triangle", "diamond")
COLOURS = {
    "red": (0.9, -0.8, -0.8),
    "green": (-0.8, 0.6, -0.8),
    "blue": (-0.7, -0.5, 1.0),
    "yellow": (0.9, 0.8, -0.8),
    "violet": (0.5, -0.7, 0.7),
    "white": (1.0, 1.0, 1.0),
}
SIZES = {"small": 0.125, "medium": 0.17, "large": 0.22}
"""Radius as a share of the frame's side."""
PATHS = ("line", "circle", "eight")
DIRECTIONS = ("right", "down", "left", "up")
CELLS = tuple(f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "centre", "right"))

_BACKGROUND = -1.0
_LUMA = np.array([0.299, 0.587, 0.114])


def moving_shapes(n: int, frames: int = 8, size: int = 16, channels: int = 3, seed: int = 0) -> Clips:
    """Make n clips of one shape that moves over a black ground.

    Shapes: x (n, frames, channels, size, size) in -1..1; channels 3, or 1 for grey.
    Static labels (n,): shape, colour, size. Dynamic labels (n, frames): position (a cell of 3 x 3),
    direction (of the step to come, in quarters), path (the same for all frames of a clip).
    factors: static (n, 3), the indices of shape, colour and size; dynamic (n, frames, 2), column and row of
    the centre, 0..1 over the range in which the largest shape stays inside.
    Raises: InputError if an argument is too small or channels is neither 1 nor 3.
    """
    check_whole("frames", frames, 2)
    static, dynamic, steps, paths = [], [], [], []
    for draw in generators(n, seed):
        static.append([draw.integers(len(SHAPES)), draw.integers(len(COLOURS)), draw.integers(len(SIZES))])
        paths.append(draw.integers(len(PATHS)))
        # One position more than there are frames: the last frame has a direction too.
        track = _track(draw, PATHS[paths[-1]], frames + 1)
        dynamic.append(track[:-1])
        steps.append(np.diff(track, axis=0))
    factors = {"static": np.array(static, np.float64), "dynamic": np.array(dynamic)}
    step = np.array(steps)
    cell = np.minimum((factors["dynamic"] * 3).astype(np.int64), 2)
    kept = np.array(static, np.int64)
    return Clips(
        x=render(factors["static"], factors["dynamic"], size, channels),
        labels={
            "shape": kept[:, 0],
            "colour": kept[:, 1],
            "size": kept[:, 2],
            "position": cell[..., 1] * 3 + cell[..., 0],
            "direction": np.round(np.arctan2(step[..., 1], step[..., 0]) / (np.pi / 2)).astype(np.int64) % 4,
            "path": np.repeat(np.array(paths)[:, None], frames, 1),
        },
        label_names={
            "shape": SHAPES,
            "colour": tuple(COLOURS),
            "size": tuple(SIZES),
            "position": CELLS,
            "direction": DIRECTIONS,
            "path": PATHS,
        },
        factors=factors,
        name="moving_shapes",
        source=f"made: moving_shapes, seed {seed}",
    )


def render(static: Array, dynamic: Array, size: int = 16, channels: int = 3) -> Array:
    """Draw clips from their factors, each edge antialiased over one pixel.

    Shapes: static (N, 3), dynamic (N, V, 2), as in ``moving_shapes``; returns (N, V, channels, size, size)
    float32 in -1..1. A pixel's colour is ground + coverage * (colour - ground), coverage from the distance of
    its centre to the outline.
    Raises: InputError if size is below 8 or channels is neither 1 nor 3.
    """
    check_whole("size", size, 8)
    if channels not in (1, 3):
        raise InputError(f"channels: got {channels!r}, expected 3 (colour) or 1 (grey)")
    radii, palette = list(SIZES.values()), np.array(list(COLOURS.values()))
    if channels == 1:
        palette = palette @ _LUMA[:, None]
    margin = max(radii) * size
    grid = np.arange(size) + 0.5
    x = np.empty((*dynamic.shape[:2], channels, size, size), np.float32)
    for item, (shape, colour, scale) in enumerate(static.astype(int)):
        centre = margin + dynamic[item] * (size - 2 * margin)  # (V, 2)
        across = grid[None, None, :] - centre[:, 0, None, None]
        down = grid[None, :, None] - centre[:, 1, None, None]
        cover = np.clip(0.5 - _distance(SHAPES[shape], across, down, radii[scale] * size), 0, 1)  # (V, H, W)
        tint = palette[colour] - _BACKGROUND
        x[item] = _BACKGROUND + cover[:, None] * tint[:, None, None]
    return x


def swap_target(a: Clips, b: Clips) -> Array:
    """Return x of a's shape, colour and size on b's path: what a perfect swap gives. Raises: InputError."""
    static, dynamic = pair_factors(a, b, "moving_shapes")
    return render(static, dynamic, size=a.x.shape[-1], channels=a.x.shape[2])


def _distance(shape: str, across: Array, down: Array, radius: float) -> Array:
    """Distance of points to an outline in pixels, negative inside (near corners a lower bound)."""
    if shape == "circle":
        return np.hypot(across, down) - radius
    if shape == "square":
        return np.maximum(np.abs(across), np.abs(down)) - 0.8 * radius
    if shape == "diamond":
        return (np.abs(across) + np.abs(down) - radius) / np.sqrt(2)
    # An equilateral triangle, point up, around its centre of mass.
    side = np.sqrt(3) / 2 * np.abs(across) - 0.5 * down
    return np.maximum(side, down) - 0.5 * radius


def _track(draw: np.random.Generator, path: str, count: int) -> Array:
    """Draw positions (count, 2) in 0..1 along a path, at an even pace."""
    time = np.arange(count)
    turn = draw.uniform(0.35, 0.8) * draw.choice([-1, 1])
    start, angle = draw.uniform(0, 1, 2), draw.uniform(0, 2 * np.pi)
    if path == "line":
        speed = draw.uniform(0.08, 0.2)
        away = start + speed * time[:, None] * np.array([np.cos(angle), np.sin(angle)])
        return 1 - np.abs(away % 2 - 1)  # the walls throw it back
    phase = angle + turn * time
    if path == "circle":
        return 0.5 + draw.uniform(0.3, 0.5) * np.stack([np.cos(phase), np.sin(phase)], 1)
    return 0.5 + 0.5 * np.stack([np.sin(phase), np.sin(2 * phase)], 1)
