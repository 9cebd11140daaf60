"""What all figures share: sizes, fonts, colours, and the way to PNG with provenance inside."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffsda.errors import InputError
from diffsda.report.files import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
CMAP = "viridis"
# Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow that white swallows.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)))
MOST_LABELS = len(COLOURS) * len(MARKERS)
_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    "text.usetex": False,
}


def style() -> AbstractContextManager[None]:
    """Return a context in which figures are made and written the same way, whatever the caller's settings."""
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def blank(width: float, height: float, layout: Any = "constrained") -> Figure:
    """Return an empty figure of that size in inches; it belongs to no global registry."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout=layout)


def png(
    figure: Figure,
    *,
    recipe: Any = None,
    checkpoint: str | None = None,
    seed: int | None = None,
    keys: Sequence[str] = (),
    **more: Any,
) -> bytes:
    """Return a figure as PNG bytes with where it comes from in the PNG's text.

    ``recipe`` is a Recipe or its digest, ``checkpoint`` the weights' digest, ``keys`` name the clips shown.
    All four are always written, ``none`` where not given; more names are written beside them. Nothing
    of time or place goes in: the same figure gives the same bytes.
    Source: house rule, every figure carries recipe digest, checkpoint digest, seed and keys.
    """
    known = {"recipe": getattr(recipe, "digest", recipe), "checkpoint": checkpoint, "seed": seed}
    text = {name: _text(value) for name, value in {**known, "keys": list(keys), **more}.items()}
    buffer = io.BytesIO()
    with style():
        # "tight" grows the canvas to whatever labels need, so that none is ever cut off.
        figure.savefig(
            buffer,
            format="png",
            dpi=DPI,
            bbox_inches="tight",
            pad_inches=0.12,
            metadata={"Software": "diffsda", **text},
        )
    return buffer.getvalue()


def save(figure: Figure, path: str | Path, **provenance: Any) -> Path:
    """Write a figure as a PNG file, whole or not at all; see ``png`` for the provenance. Returns the path.

    Raises: InputError if the path does not end in .png; SaveError if it cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"save: got {Path(path).name!r}, expected a name that ends in .png")
    return write(path, png(figure, **provenance))


def provenance(source: str | Path | bytes) -> dict[str, str]:
    """Read back the text of a PNG file or of PNG bytes.

    Raises: InputError if it is not a PNG.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=["PNG"]) as image:
            image.load()
            return dict(image.text)  # type: ignore[attr-defined]
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"provenance: {error}; expected a PNG") from None


def groups(labels: ArrayLike) -> Iterator[tuple[str, NDArray[np.bool_], str, str, Any]]:
    """Go through the labels in order: name, rows that have it, colour, marker, dash.

    Colour and marker (or dash) differ together, so the figure reads in grey too.
    Raises: InputError if labels are not (N,), or there are more than can be told apart.
    """
    labels = np.asarray(labels)
    names = np.unique(labels)
    if labels.ndim != 1 or not 0 < len(names) <= MOST_LABELS:
        raise InputError(
            f"labels: got shape {labels.shape} with {len(names)} different ones, "
            f"expected (N,) with 1 to {MOST_LABELS}; choose fewer clips"
        )
    for i, name in enumerate(names):
        mark = i % len(MARKERS)
        yield str(name), labels == name, COLOURS[i % len(COLOURS)], MARKERS[mark], DASHES[mark]


def _text(value: Any) -> str:
    if value is None or value == []:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
