"""The building blocks as the authors' code executes them: float32, NCHW, one operation at a time.

Module names are those of the authors' checkpoints, so their state dicts load with ``strict=True``. Nothing
here is fused or cached; that is the point of a baseline.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

GROUPS = 32


def xavier(module: nn.Module, gain: float = 1.0) -> None:
    """Draw every convolution and linear layer inside Xavier-uniform and zero its bias.

    Source: the authors' code.
    """
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(part.weight, gain=gain)
            nn.init.zeros_(part.bias)


class FourierFeatures(nn.Module):
    """Embed a noise level by fixed random frequencies (a buffer, so part of a checkpoint).

    Shapes: c_noise (N,) -> (N, width), cosines first.
    Source: the authors' code (as EDM, scale 16).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.randn(width // 2) * 16)

    def forward(self, c_noise: Tensor) -> Tensor:
        angles = c_noise.ger(2 * math.pi * self.freqs)  # (N, width / 2)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """Turn c_noise into the noise embedding. Shapes: (N,) -> (N, 4 * width). Source: the authors' code."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timembedding = nn.Sequential(
            FourierFeatures(width),
            nn.Linear(width, 4 * width),
            nn.SiLU(),
            nn.Linear(4 * width, 4 * width),
            nn.SiLU(),
        )

    def forward(self, c_noise: Tensor) -> Tensor:
        return self.timembedding(c_noise)


class Attention(nn.Module):
    """Attend over the pixels of a frame with one head, writing the whole (N, HW, HW) map to memory.

    Shapes: x, y (N, C, H, W).
    Source: the authors' code.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, channels)
        self.proj_q = nn.Conv2d(channels, channels, 1)
        self.proj_k = nn.Conv2d(channels, channels, 1)
        self.proj_v = nn.Conv2d(channels, channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        h = self.group_norm(x)
        q = self.proj_q(h).permute(0, 2, 3, 1).reshape(n, height * width, c)
        k = self.proj_k(h).reshape(n, c, height * width)
        v = self.proj_v(h).permute(0, 2, 3, 1).reshape(n, height * width, c)
        weights = torch.softmax(torch.bmm(q, k) * c**-0.5, dim=-1)  # (N, HW, HW)
        h = torch.bmm(weights, v).reshape(n, height, width, c).permute(0, 3, 1, 2)
        return x + self.proj(h)


class ModulatedBlock(nn.Module):
    """Run three convolutions, the middle one under the modulation of noise level and factors.

    Every block projects both embeddings for all N rows at every evaluation, and owns a second attention
    (``crossattn``) that never runs but is in every checkpoint.
    Shapes: x (N, Cin, H, W); temb, aemb (N, E) -> (N, Cout, H, W).
    Source: the authors' code.
    """

    def __init__(self, cin: int, cout: int, embedding: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.GroupNorm(GROUPS, cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1))
        self.temb_proj = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * cout))
        self.aemb_proj = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * cout))
        self.block2 = _stage(cout, dropout)
        self.block3 = _stage(cout, dropout)
        self.shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()
        self.attn = Attention(cout) if attention else nn.Identity()
        self.crossattn = Attention(cout)
        xavier(self)

    def forward(self, x: Tensor, temb: Tensor, aemb: Tensor) -> Tensor:
        h = self.block1(x)
        noise_scale, noise_shift = self.temb_proj(temb)[:, :, None, None].chunk(2, dim=1)
        factor_scale, factor_shift = self.aemb_proj(aemb)[:, :, None, None].chunk(2, dim=1)
        h = self.block2[0](h)
        h = h * (1 + noise_scale) + noise_shift
        h = h * (1 + factor_scale) + factor_shift
        h = self.block2[1:](h)
        h = self.block3(h)
        return self.attn(h + self.shortcut(x))


class PlainBlock(nn.Module):
    """Run the encoder's two convolutions, without conditioning.

    Shapes: x (N, Cin, H, W) -> (N, Cout, H, W).
    Source: the authors' code.
    """

    def __init__(self, cin: int, cout: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.GroupNorm(GROUPS, cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1))
        self.block2 = _stage(cout, dropout)
        self.shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()
        self.attn = Attention(cout) if attention else nn.Identity()
        xavier(self)

    def forward(self, x: Tensor) -> Tensor:
        h = self.block2(self.block1(x))
        return self.attn(h + self.shortcut(x))


class DownSample(nn.Module):
    """Halve height and width by a strided convolution, padded on all sides. Source: the authors' code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        xavier(self)

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        return self.main(x)


class UpSample(nn.Module):
    """Double height and width by repetition, then a convolution. Source: the authors' code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Conv2d(channels, channels, 3, padding=1)
        xavier(self)

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        return self.main(nn.functional.interpolate(x, scale_factor=2, mode="nearest"))


def _stage(channels: int, dropout: float) -> nn.Sequential:
    """Normalise, activate, drop, convolve; the convolution is child 3, as in the checkpoints."""
    return nn.Sequential(
        nn.GroupNorm(GROUPS, channels),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Conv2d(channels, channels, 3, padding=1),
    )
