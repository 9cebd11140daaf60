"""The plain torch form of nearest_code: a block of the distance matrix at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.errors import InputError

MATRIX_BYTES = 64 * 2**20
"""The largest block of distances held at once (a second one of that size holds a step's differences)."""
DIRECT = 8
"""Widths up to this are compared by the sum of squared differences."""


@torch.no_grad()
def nearest_code(x: Tensor, codebook: Tensor) -> Tensor:
    """Return, for every row of x, the index of the nearest row of the codebook; the lowest one of equals.

    Shapes: x (N, D), codebook (K, D), result (N,) int64.
    Precision: float32, or float64 where an input is; never lower, under autocast too.
    Source: VQGAN's quantiser. Differs: that compares |x|^2 - 2 x c + |c|^2. Up to D = 8, as in the first stages, this
    sums squared differences, whose error is relative to the distance and not to |x|^2; beyond, it compares
    |c|^2 - 2 x c, without the term that all codes share.
    Raises: InputError for tensors that do not go together.
    """
    check(x, codebook)
    kind = torch.promote_types(torch.promote_types(x.dtype, codebook.dtype), torch.float32)
    book = codebook.to(kind).t().contiguous()  # (D, K)
    rows = max(1, MATRIX_BYTES // (kind.itemsize * codebook.shape[0]))
    with torch.autocast(x.device.type, enabled=False):
        found = [_distances(part.to(kind), book).argmin(1) for part in x.split(rows)]
    return torch.cat(found)


def check(x: Tensor, codebook: Tensor) -> None:
    """Refuse what no backend computes.

    Raises: InputError unless x (N, D) and codebook (K, D) are floats on one device, with D and K above 0.
    """
    together = x.ndim == codebook.ndim == 2 and x.shape[1] == codebook.shape[1] and 0 not in codebook.shape
    floats = x.is_floating_point() and codebook.is_floating_point()
    if not (together and floats and x.device == codebook.device):
        raise InputError(
            f"nearest_code: got x {tuple(x.shape)} {x.dtype} on {x.device} and codebook {tuple(codebook.shape)} "
            f"{codebook.dtype} on {codebook.device}, expected floats (N, D) and (K, D) on one device, D and K above 0"
        )


def _distances(x: Tensor, book: Tensor) -> Tensor:
    """Return squared distances (n, K), beyond ``DIRECT`` without |x|^2; x (n, D), book (D, K)."""
    if x.shape[1] > DIRECT:
        return torch.addmm(book.square().sum(0), x, book, alpha=-2)
    total = torch.zeros(x.shape[0], book.shape[1], dtype=x.dtype, device=x.device)
    for d in range(x.shape[1]):
        total += (x[:, d, None] - book[d]).square_()
    return total
