"""Doubled and convolved images in operations that every runtime has natively.

``inference.subpixel.upsample`` puts its four phases in place by a view that ONNX knows only as a table of every pixel
to be looked up; here they are four slices and a DepthToSpace.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffsda.inference.unet import Up


def doubled(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Double the image and convolve it: what ``inference.subpixel.upsample`` computes.

    Shapes: x (N, C, H, W), weight (4 C', C, 2, 2) from ``phase_weights``, bias (C',) -> (N, C', 2 H, 2 W).
    """
    grid = F.conv2d(x, weight, None if bias is None else bias.repeat(4), padding=1)
    height, width = x.shape[2:]
    # Phase (p, q) of pixel (i, j) lies at (i+p, j+q).
    phases = [
        part[:, :, p : p + height, q : q + width]
        for part, (p, q) in zip(grid.chunk(4, dim=1), ((0, 0), (0, 1), (1, 0), (1, 1)))
    ]
    return F.pixel_shuffle(torch.stack(phases, dim=2).flatten(1, 2), 2)


class Doubled(Up):
    """A prepared network's doubling, written for runtimes."""

    def __init__(self, up: Up) -> None:
        nn.Module.__init__(self)
        self.conv, self.subpixel = up.conv, True
        self.register_buffer("before", up.before)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.before is None else x + self.before
        return doubled(x, self.conv.weight, self.conv.bias)
