"""Draw clips above what came back of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.report.canvas import save
from diffsda.report.strip import strip

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

MOST = 4
"""Clips drawn."""


def draw_reconstructions(
    clips: Clips,
    back: np.ndarray,
    path: str | Path,
    *,
    names: Sequence[str] | None = None,
    how: str = "reconstructed",
    unit: str = "value",
    **provenance: Any,
) -> Path:
    """Draw the first clips in pairs, as brought and as reconstructed, and save the PNG.

    Shapes: back like clips.x (N, V, ...). ``how`` names the second of a pair.
    Raises: SaveError if the figure cannot be written.
    """
    few = clips.select(slice(0, MOST))
    names = [f"clip {i + 1}" for i in range(len(few))] if names is None else names[:MOST]
    both = np.stack([few.x, back[: len(few)]], axis=1).reshape(-1, *few.x.shape[1:])
    twice = None if few.lengths is None else np.repeat(few.lengths, 2)
    titles = [f"{name}, {what}" for name in names for what in ("real", how)]
    return save(strip(both, twice, titles=titles, unit=unit), path, **provenance)
