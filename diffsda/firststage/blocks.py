"""The pieces of the autoencoders: residual blocks, attention, halving and doubling the resolution.

Names of modules are those of the latent-diffusion files, so that these load as they are.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from diffsda.kernels.attention import attention
from diffsda.nn.blocks import Norm

EPS = 1e-6


def norm(channels: int, act: str = "silu") -> Norm:
    """Return a GroupNorm over 32 groups with eps 1e-6, SiLU in the same operation."""
    layer = Norm(channels, act=act)
    layer.eps = EPS
    return layer


def conv3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a 3x3 convolution, padding 1, torch's own initialisation."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class Block(nn.Module):
    """Residual block: norm, SiLU, convolution, twice.

    Shapes: x (N, C_in, H, W) -> (N, C_out, H, W).
    Source: the latent-diffusion autoencoders.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = conv3(in_channels, channels)
        self.norm2 = norm(channels)
        self.conv2 = conv3(channels, channels)
        # Only where widths differ: the files have no tensors for an identity.
        self.nin_shortcut = nn.Conv2d(in_channels, channels, 1) if in_channels != channels else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x))
        h = self.conv2(self.norm2(h))
        return h + (x if self.nin_shortcut is None else self.nin_shortcut(x))


class Attention(nn.Module):
    """Self-attention over the cells of a frame, single head, with a residual connection.

    Shapes: x (N, C, H, W) -> same.
    Source: the latent-diffusion autoencoders.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels, act="none")
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))  # (N, H*W, C)
        y = attention(q, k, v)
        return x + self.proj_out(y.transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Halve the resolution by a strided 3x3 convolution, one row and one column of zeros at the far edges."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double the resolution: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Blocks of one resolution, each with or without attention after it, and the way to the next resolution."""

    def __init__(self, in_channels: int, channels: int, blocks: int, *, attend: bool) -> None:
        super().__init__()
        widths = [in_channels, *[channels] * (blocks - 1)]
        self.block = nn.ModuleList(Block(width, channels) for width in widths)
        self.attn = nn.ModuleList(Attention(channels) for _ in widths if attend)
        self.downsample: Downsample | None = None
        self.upsample: Upsample | None = None

    def forward(self, h: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            h = block(h)
            if self.attn:
                h = self.attn[i](h)
        if self.downsample is not None:
            h = self.downsample(h)
        return h if self.upsample is None else self.upsample(h)


class Middle(nn.Module):
    """The middle of either half: block, attention, block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = Block(channels, channels)
        self.attn_1 = Attention(channels)
        self.block_2 = Block(channels, channels)

    def forward(self, h: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(h)))
