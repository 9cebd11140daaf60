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
        """Return the size of the next tile with ``left`` rows to go: an even share, of the fewest tiles possible.

        With fixed sizes the largest, and for a tail the smallest that holds it, so that it is padded to a size that
        comes up again.
        """
        largest = max(1, self.largest // unit * unit) if self.largest >= unit else self.largest
        if not self.fixed:
            return -(-left // -(-left // largest))
        if left >= largest:
            return largest
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

    ``run`` is given the rows of a tile and the size to pad them to, and returns their results, unpadded. Where memory
    runs out what is finished is kept, ``forget`` lets go of what is cached, and tiles of half the size go on. ``done``
    is told the share of rows finished.
    Raises: the error of the allocator (torch.OutOfMemoryError on a GPU) if not even one row fits.
    """
    parts: list[tuple[Tensor, ...]] = []
    at = 0
    while at < rows:
        size = tiles.size(rows - at, unit)
        taken = slice(at, min(at + size, rows))
        try:
            parts.append(run(taken, size))
        except RuntimeError as reason:
            if not out_of_memory(reason) or not tiles.halve(size):
                raise
            forget()
            continue
        at = taken.stop
        done(at / rows)
    return parts[0] if len(parts) == 1 else tuple(torch.cat(part) for part in zip(*parts))


def out_of_memory(reason: RuntimeError) -> bool:
    """Whether an error says that memory ran out: torch's own, or one of the words of those libraries that have none."""
    return isinstance(reason, torch.OutOfMemoryError) or any(word in str(reason) for word in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
)


def padded(x: Tensor, size: int) -> Tensor:
    """Return x with its last row repeated up to ``size`` rows: real values, so that nothing overflows."""
    missing = size - x.shape[0]
    return x if missing == 0 else torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
