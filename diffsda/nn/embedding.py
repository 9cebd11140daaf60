"""Noise level embedding: random Fourier features and a two-layer MLP."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffsda.nn.init import xavier_

FOURIER_SCALE = 16.0


class NoiseEmbedding(nn.Module):
    """Embed c_noise: cos and sin of random frequencies, Linear, SiLU, Linear, SiLU.

    Shapes: c_noise (R,) -> (R, width), from ``features`` Fourier features.
    Source: the authors' time embedding; frequencies as in EDM's networks (scale 16), cos before sin.
    """

    freqs: Tensor

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.randn(features // 2) * FOURIER_SCALE)
        self.linear1 = xavier_(nn.Linear(features, width))
        self.linear2 = xavier_(nn.Linear(width, width))

    def forward(self, c_noise: Tensor) -> Tensor:
        angles = c_noise[:, None] * (2 * math.pi * self.freqs)  # (R, features / 2)
        features = torch.cat([angles.cos(), angles.sin()], dim=1)
        return F.silu(self.linear2(F.silu(self.linear1(features))))
