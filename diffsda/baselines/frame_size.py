"""Which frames DCGAN's networks can have: squares that halve down to 4 x 4."""

from __future__ import annotations

from diffsda.errors import InputError

BOTTOM = 4
"""Height and width of what the last convolution reads whole, and the first of a decoder writes."""
SIZES = (16, 32, 64, 128, 256)
PUBLISHED_SIZE = 64
"""What DBSE and SPYL were published with; other sizes are ours."""


def halvings(size: int) -> int:
    """Return how often frames of this height and width are halved on the way to 4 x 4.

    Raises: InputError for a size that is not a power of two from 16 to 256.
    """
    if size not in SIZES:
        raise InputError(
            f"size: got {size}, expected one of {', '.join(map(str, SIZES))}; prepare clips of one of these"
        )
    return (size // BOTTOM).bit_length() - 1
