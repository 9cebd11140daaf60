"""Put a finished mosaic into a figure, every pixel the same size, labels outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffsda.report.canvas import CMAP, DPI, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from diffsda.report.mosaic import Pixels

# Dots a mosaic is magnified to at most; a larger one stays as it is.
_WIDE, _TALL = 2000, 1500
# Width in dots up to which letters keep their ordinary size.
_PAGE = 1400


def show(picture: Pixels) -> tuple[Figure, Axes]:
    """Return a figure filled by the mosaic (H, W, 3), one data unit a pixel, and its axes without frame.

    Each pixel covers a whole number of dots, up to 12. Letters grow with the mosaic, so that they can still
    be read when a page shows it smaller.
    """
    high, wide = picture.shape[:2]
    times = magnified(picture)
    figure = blank(wide * times / DPI, high * times / DPI, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_frame_on(False)
    axes.tick_params(length=0, labelsize=letters(picture), pad=4)
    axes.xaxis.label.set_fontsize(letters(picture))
    axes.yaxis.label.set_fontsize(letters(picture))
    return figure, axes


def magnified(picture: Pixels) -> int:
    """Return the dots a pixel covers each way."""
    return max(1, min(12, _WIDE // picture.shape[1], _TALL // picture.shape[0]))


def letters(picture: Pixels) -> float:
    """Return the letter size in points for a mosaic of that width."""
    return 10 * max(1.0, magnified(picture) * picture.shape[1] / _PAGE)


def key(figure: Figure, scale: tuple[float, float], unit: str) -> None:
    """Draw the colour scale to the right of a mosaic, a fixed width in inches."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    wide = figure.get_size_inches()[0]
    axes = figure.add_axes((1 + 0.15 / wide, 0, 0.14 / wide, 1))
    bar = figure.colorbar(ScalarMappable(Normalize(*scale), CMAP), cax=axes)
    size = 10 * max(1.0, wide * DPI / _PAGE)
    bar.ax.tick_params(labelsize=size)
    bar.set_label(unit, size=size, parse_math=False)
