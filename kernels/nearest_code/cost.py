"""What nearest_code must move and compute."""

from __future__ import annotations

import torch

from diffsda.kernels.cost import Cost
from diffsda.kernels.nearest_code.plan import plan

_DISTANCE, _INDEX = 4, 8


def forward(rows: int, codes: int, width: int, dtype: torch.dtype) -> Cost:
    """Return the cost for x (N, D) and a codebook (K, D) of one dtype; indices are int64.

    Read again: the codebook by every further program, from the L2 cache, and beyond narrow widths x by every further
    block of codes. Operations: a difference (or product), a square and a sum an element.
    """
    cut = plan(codes, width)
    x, book = rows * width * dtype.itemsize, codes * width * dtype.itemsize
    programs = -(-rows // cut.rows)
    again = 0 if cut.direct else x * (-(-codes // cut.codes) - 1)
    # The direct kernel reads a float32 copy of the codebook.
    reread = max(0, programs - 1) * (codes * width * 4 if cut.direct else book) + again
    return Cost(x + book, rows * _INDEX, reread, (3 if cut.direct else 2) * rows * codes * width)


def avoided(rows: int, codes: int) -> int:
    """Return the bytes of the matrix of distances that is never written."""
    return rows * codes * _DISTANCE
