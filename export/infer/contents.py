"""What a file of clips holds, before anybody has looked at the clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.clip import Clips
from diffsda.errors import InputError

Array = np.ndarray[Any, Any]


def to_floats(x: Array) -> Array:
    """Return pixels as float32 in [-1, 1]: bytes scaled, floats as they are."""
    return x.astype(np.float32) / np.float32(127.5) - 1 if x.dtype == np.uint8 else x


@dataclass(frozen=True)
class Contents:
    """What a file holds, its clips not looked at yet, so that a broken one stands for itself alone.

    Shapes: x (N, V, F) or (N, V, C, H, W), lengths (N,) or None, mask like x or None. Bytes are pixels, 0 to 255.
    """

    path: Path
    x: Array
    lengths: Array | None = None
    mask: Array | None = None

    def __post_init__(self) -> None:
        if self.x.ndim not in (3, 5):
            raise InputError(
                f"x: got shape {self.x.shape}, expected one clip, (frames, features) or (frames, channels, height, "
                "width), or a batch of them"
            )
        if self.lengths is not None and self.lengths.shape != self.x.shape[:1]:
            raise InputError(f"lengths: got shape {self.lengths.shape}, expected ({len(self.x)},), one number a clip")
        if self.mask is not None and self.mask.shape != self.x.shape:
            raise InputError(f"mask: got shape {self.mask.shape}, expected x's {self.x.shape}")

    def row(self, row: int) -> Array:
        """Return the values of one clip as they are in the file.

        Raises: InputError if it is not there.
        """
        if not row < len(self.x):
            raise InputError(f"got {len(self.x)} clips, expected more than {row}; did the file change?")
        values: Array = self.x[row]
        return values

    def clip(self, row: int) -> Clips:
        """Return one clip.

        Raises: InputError if it is not there or not usable (see ``Clips``).
        """
        x = self.row(row)[None]
        lengths, mask = (None if a is None else a[row : row + 1] for a in (self.lengths, self.mask))
        if x.dtype == np.uint8 and x.ndim == 5:
            x = to_floats(x)
        return Clips(x, lengths, mask, name=self.path.stem, source=f"file {self.path.name}")
