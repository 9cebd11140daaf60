"""The pieces of the U-Nets: normalisation, residual blocks, attention, down- and upsampling."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from diffsda.kernels.attention import attention
from diffsda.kernels.group_norm import group_norm
from diffsda.nn.init import xavier_

GROUPS = 32


def conv3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
    """Return a 3x3 convolution, padding 1, Xavier uniform."""
    return xavier_(nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1))


class Norm(nn.GroupNorm):
    """GroupNorm over 32 groups, with modulation, SiLU and dropout in the same operation."""

    def __init__(self, channels: int, act: str = "silu", dropout: float = 0.0) -> None:
        super().__init__(GROUPS, channels, eps=1e-5)
        self.act = act
        self.dropout = dropout
        # Where our kernels' dropout gets its randomness; a training run gives all sites one state.
        self.dropout_state: Tensor | None = None
        self.dropout_site = 0

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        return group_norm(
            x,
            self.weight,
            self.bias,
            groups=GROUPS,
            scale=scale,
            shift=shift,
            act=self.act,
            eps=self.eps,
            dropout=self.dropout if self.training else 0.0,
            state=self.dropout_state,
            site=self.dropout_site,
        )


class Attention(nn.Module):
    """Self-attention over the pixels of a frame, single head, with a residual connection.

    Shapes: x (N, C, H, W) -> same. Queries, keys and values come from one product.
    Source: the authors' AttnBlock. Their intended small output projection is overwritten at start-up by the
    enclosing block, so it begins at gain 1 here too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = Norm(channels, act="none")
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = xavier_(nn.Conv2d(channels, channels, 1))
        for part in self.qkv.weight.chunk(3):
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(self.qkv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # (N, H*W, 3C)
        y = attention(*qkv.chunk(3, dim=-1))
        return x + self.proj(y.transpose(1, 2).reshape(n, c, h, w))


class EncoderBlock(nn.Module):
    """Residual block of the frame encoder: two convolutions, no conditioning.

    Shapes: x (N, C_in, H, W) -> (N, C_out, H, W).
    Source: the authors' ResBlock_encoder.
    """

    def __init__(
        self, in_channels: int, channels: int, *, attend: bool, dropout: float, zero_init: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = Norm(in_channels)
        self.conv1 = conv3(in_channels, channels)
        self.norm2 = Norm(channels, dropout=dropout)
        self.conv2 = conv3(channels, channels)
        self.shortcut = _shortcut(in_channels, channels)
        self.attention = Attention(channels) if attend else None
        if zero_init:
            nn.init.zeros_(self.conv2.weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x))
        h = self.conv2(self.norm2(h))
        h = h + self.shortcut(x)
        return h if self.attention is None else self.attention(h)


class AdaGNBlock(nn.Module):
    """Residual block of the denoiser: three convolutions, the second one modulated.

    Shapes: x (N, C_in, H, W), scale and shift (N, C_out) -> (N, C_out, H, W).
    Source: DiffSDA Eq. 9 and the authors' AuxResBlock. Differs from the paper: a third, unconditioned
    convolution, as in the authors' code.
    """

    def __init__(
        self, in_channels: int, channels: int, *, attend: bool, dropout: float, zero_init: bool = False
    ) -> None:
        super().__init__()
        self.channels = channels
        self.norm1 = Norm(in_channels)
        self.conv1 = conv3(in_channels, channels)
        self.norm2 = Norm(channels, dropout=dropout)
        self.conv2 = conv3(channels, channels)
        self.norm3 = Norm(channels, dropout=dropout)
        self.conv3 = conv3(channels, channels)
        self.shortcut = _shortcut(in_channels, channels)
        self.attention = Attention(channels) if attend else None
        if zero_init:
            nn.init.zeros_(self.conv3.weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x))
        h = self.conv2(self.norm2(h, scale, shift))
        h = self.conv3(self.norm3(h))
        h = h + self.shortcut(x)
        return h if self.attention is None else self.attention(h)


class Downsample(nn.Module):
    """Halve the resolution by a strided 3x3 convolution, padding 1 on both sides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    """Double the resolution: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def _shortcut(in_channels: int, channels: int) -> nn.Module:
    return nn.Identity() if in_channels == channels else xavier_(nn.Conv2d(in_channels, channels, 1))
