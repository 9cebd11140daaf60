"""Entries of clips that are missing: what they hold is never read, and nothing is asked of what stands there."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffsda import check


def without_missing(x: Tensor, mask: Any) -> tuple[Tensor, Tensor | None]:
    """Return clips with 0 where entries are missing, as encoders want them, and which these are, or None.

    Shapes: x (B, V, ...), mask like x, 1 = missing, or None -> like x, and booleans like x or None.
    Raises: InputError for a mask of another shape.
    """
    given = check.mask(mask, x)
    if given is None:
        return x, None
    missing = given.bool()
    # Not a product: missing entries may hold anything, not-a-number too.
    return x.masked_fill(missing, 0), missing
