"""What an operation must move and compute: the figures benches divide by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Bytes and operations of one call.

    ``read`` and ``written`` are compulsory: every input once, every output once. ``reread`` is what our kernel
    reads again (from the L2 cache where it fits); no bench counts it as work done.
    """

    read: int
    written: int
    reread: int = 0
    flops: int = 0

    @property
    def useful(self) -> int:
        """Bytes that any implementation has to move."""
        return self.read + self.written

    @property
    def moved(self) -> int:
        """Bytes that our kernel asks for."""
        return self.useful + self.reread

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.read + other.read,
            self.written + other.written,
            self.reread + other.reread,
            self.flops + other.flops,
        )
