"""Cut a request of any size into tiles of few sizes, and go on with smaller ones where memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Tiles:
    """Sizes of tiles: at most ``largest`` rows; where shapes must repeat (``fixed``), powers of two times ``unit``.

    ``unit`` rows belong together (the frames of a clip); below one unit a tile may go when memory runs out.
    """

    def __init__(self, largest: int, *, fixed: bool) -> None:
        self.largest, self.fixed = largest, fixed

    def size(self, left: int, unit: int = 1) -> int:
        """Return the size of the next tile with ``left`` rows to go: as large as all of them or the largest.

        With fixed sizes the smallest one that holds them, so that the tail of a request is padded to a size that
        comes up again.
        """
        largest = max(1, self.largest // unit * unit) if self.largest >= unit else self.largest
        if not self.fixed or left >= largest:
            return min(left, largest) if not self.fixed else largest
        size = min(unit, largest)
        while size < left:
            size *= 2
        return min(size, largest)

    def halve(self, size: int) -> bool:
        """Make tiles at most half of ``size`` from now on; return False if that is not possible."""
        if size <= 1:
            return False
        self.largest = size // 2
        return True


def over(
    tiles: Tiles,
    rows: int,
    run: Callable[[slice, int], tuple[Tensor, ...]],
    *,
    unit: int = 1,
    forget: Callable[[], None] = lambda: None,
    done: Callable[[float], None] = lambda share: None,
) -> tuple[Tensor, ...]:
    """Run a request tile by tile and return the results, each side by side along the first axis.

    ``run`` is given the rows of a tile and the size to pad them to, and returns their results, unpadded. On
    ``torch.OutOfMemoryError`` what is finished is kept, ``forget`` lets go of what is cached, and tiles of half the
    size go on. ``done`` is told the share of rows finished.
    Raises: torch.OutOfMemoryError if not even one row fits.
    """
    parts, at = [], 0
    while at < rows:
        size = tiles.size(rows - at, unit)
        taken = slice(at, min(at + size, rows))
        try:
            parts.append(run(taken, size))
        except torch.OutOfMemoryError:
            if not tiles.halve(size):
                raise
            forget()
            continue
        at = taken.stop
        done(at / rows)
    return parts[0] if len(parts) == 1 else tuple(torch.cat(part) for part in zip(*parts))


def padded(x: Tensor, size: int) -> Tensor:
    """Return x with its last row repeated up to ``size`` rows: real values, so that nothing overflows."""
    missing = size - x.shape[0]
    return x if missing == 0 else torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
