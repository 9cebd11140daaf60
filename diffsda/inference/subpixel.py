"""Nearest-neighbour doubling followed by a 3x3 convolution, as one 2x2 convolution on the small image.

Each of the four output phases sees only 2x2 distinct input pixels, so its 3x3 weights add up to 2x2 ones: 16 of
36 multiplications remain, and the enlarged image is never written. Exact but for the order of sums.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def phase_weights(weight: Tensor) -> Tensor:
    """Return the weights of the four phases, row phase before column phase.

    Shapes: weight (C', C, 3, 3) -> (4 C', C, 2, 2), float64 inside.
    An even output pixel reads the input before it once (tap 0) and its own twice (taps 1 and 2); an odd one its own
    twice (taps 0 and 1) and the next once (tap 2).
    """
    fold = torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float64, device=weight.device)
    phases = torch.einsum("pyk,qxl,ockl->pqocyx", fold, fold, weight.double())  # (2, 2, C', C, 2, 2)
    return phases.flatten(0, 2).to(weight.dtype)


def upsample(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Double the image and convolve it.

    Shapes: x (N, C, H, W), weight from ``phase_weights``, bias (C',) -> (N, C', 2H, 2W) in the layout of the
    convolution.
    """
    # (N, 4 C', H+1, W+1): phase (p, q) of pixel (i, j) lies at (i+p, j+q).
    grid = F.conv2d(x, weight, None if bias is None else bias.repeat(4), padding=1)
    n, c, h, w = grid.shape[0], grid.shape[1] // 4, x.shape[2], x.shape[3]
    sn, sc, sy, sx = grid.stride()
    # All four phases as one view, so that putting them in place is one copy.
    view = grid.as_strided((n, h, 2, w, 2, c), (sn, sy, sy + 2 * c * sc, sx, sx + c * sc, sc))
    if sc == 1:
        return view.reshape(n, 2 * h, 2 * w, c).permute(0, 3, 1, 2)
    return view.permute(0, 5, 1, 2, 3, 4).reshape(n, c, 2 * h, 2 * w)
