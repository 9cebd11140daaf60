"""Clips as pixels: frames side by side for video, a heat-strip for vectors, cells laid out in a grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffsda.errors import InputError
from diffsda.evaluate.lengths import valid
from diffsda.report.canvas import CMAP

Array = NDArray[Any]
Pixels = NDArray[np.uint8]
WHITE = 255


def clips(x: ArrayLike, lengths: ArrayLike | None, name: str) -> list[Array]:
    """Cut a padded batch into clips of their own length.

    Shapes: x (N, V, F) or (N, V, C, H, W) with C 1 or 3; lengths (N,); each clip (length, ...).
    Raises: InputError if the shape, the channels or the lengths do not fit, or a valid value is not finite.
    """
    x = np.asarray(x)
    if x.ndim not in (3, 5) or x.size == 0:
        raise InputError(f"{name}: got shape {x.shape}, expected vectors (N, V, F) or video (N, V, C, H, W)")
    if x.ndim == 5 and x.shape[2] not in (1, 3):
        raise InputError(f"{name}: got {x.shape[2]} channels, expected 1 or 3; decode latents first")
    cut = [clip[:n] for clip, n in zip(x, valid(lengths, x.shape[0], x.shape[1], name), strict=True)]
    for i, clip in enumerate(cut):
        if not np.isfinite(clip).all():
            raise InputError(f"{name}: clip {i} holds values that are not finite, expected numbers only")
    return cut


def limits(shown: Iterable[Array], given: tuple[float, float] | None) -> tuple[float, float]:
    """Return the values drawn darkest and brightest: as given, 0 to 255 for bytes, else the extremes shown.

    Raises: InputError if the given pair is not low < high.
    """
    if given is not None:
        low, high = float(given[0]), float(given[1])
        if not low < high:
            raise InputError(f"limits: got {given}, expected low < high")
        return low, high
    shown = list(shown)
    if all(clip.dtype == np.uint8 for clip in shown):
        return 0.0, 255.0
    low = min(float(clip.min()) for clip in shown)
    high = max(float(clip.max()) for clip in shown)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def chosen(frames: int, most: int | None) -> NDArray[np.int64]:
    """Return the frames to show: all, or ``most`` evenly spaced ones with the first and the last."""
    if most is not None and most < 2:
        raise InputError(f"most: got {most}, expected at least 2 frames (a first and a last)")
    if most is None or frames <= most:
        return np.arange(frames)
    return np.round(np.linspace(0, frames - 1, most)).astype(np.int64)


def film(clip: Array, scale: tuple[float, float], gap: int = 1) -> Pixels:
    """Lay video frames (V, C, H, W) side by side: (H, V * (W + gap) - gap, 3), white between."""
    shade = _unit(clip, scale)
    rgb = np.broadcast_to(shade, (len(shade), 3, *shade.shape[2:])).transpose(0, 2, 3, 1)  # (V, H, W, 3)
    edge = ((0, 0), (0, 0), (0, gap), (0, 0))
    frames = np.pad(np.round(255 * rgb).astype(np.uint8), edge, constant_values=WHITE)
    joined = frames.transpose(1, 0, 2, 3).reshape(frames.shape[1], -1, 3)
    return joined[:, : joined.shape[1] - gap]


def heat(clip: Array, scale: tuple[float, float], tall: int = 1, wide: int = 1) -> Pixels:
    """Colour vectors (V, F) by value: (F * tall, V * wide, 3), feature 0 at the bottom."""
    import matplotlib

    rgb = matplotlib.colormaps[CMAP](_unit(clip, scale).T[::-1], bytes=True)[..., :3]
    return np.repeat(np.repeat(rgb, tall, axis=0), wide, axis=1)


def lay(cells: Sequence[Sequence[Pixels | None]], gap: int) -> tuple[Pixels, list[float], list[float]]:
    """Put cells in rows and columns on white, each at the left of its column.

    Returns the picture and the middle of every row and column in pixels, for labels.
    """
    heights = [max((c.shape[0] for c in row if c is not None), default=1) for row in cells]
    widths = [max((c.shape[1] for c in column if c is not None), default=1) for column in zip(*cells)]
    tops = np.concatenate([[0], np.cumsum(np.add(heights, gap))])
    lefts = np.concatenate([[0], np.cumsum(np.add(widths, gap))])
    picture = np.full((int(tops[-1]) - gap, int(lefts[-1]) - gap, 3), WHITE, dtype=np.uint8)
    for row, top in zip(cells, tops[:-1], strict=True):
        for cell, left in zip(row, lefts[:-1], strict=True):
            if cell is not None:
                picture[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    rows = [float(t + (h - 1) / 2) for t, h in zip(tops[:-1], heights, strict=True)]
    columns = [float(t + (w - 1) / 2) for t, w in zip(lefts[:-1], widths, strict=True)]
    return picture, rows, columns


def _unit(clip: Array, scale: tuple[float, float]) -> NDArray[np.float64]:
    """Map low..high to 0..1, cutting off what lies outside."""
    low, high = scale
    return np.clip((clip.astype(np.float64) - low) / (high - low), 0.0, 1.0)
