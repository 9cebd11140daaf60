"""The U-Net of the video networks: one topology, conditioned (denoiser) or not (frame encoder)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffsda.nn.blocks import AdaGNBlock, Downsample, EncoderBlock, Norm, Upsample
from diffsda.nn.init import xavier_
from diffsda.nn.modulation import Modulation, Tables, fold


class UNet(nn.Module):
    """Run residual blocks down, through the middle and up again, with skip connections.

    Shapes: x (N, in_channels, H, W) -> (N, out_channels, H, W); frames are independent of each other.
    ``down`` and ``up`` hold blocks and resampling layers in the order they run.
    Source: the authors' AuxiliaryUNetKarras and its encoder twin.
    """

    def __init__(
        self,
        block: type[AdaGNBlock] | type[EncoderBlock],
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        multipliers: Sequence[int],
        attention: Sequence[int],
        blocks: int,
        dropout: float,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"dropout": dropout, "zero_init": zero_init}
        self.head = xavier_(nn.Conv2d(in_channels, width, 3, padding=1))
        self.down = nn.ModuleList()
        skips, now = [width], width
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(block(now, width * multiplier, attend=level in attention, **options))
                now = width * multiplier
                skips.append(now)
            if level < len(multipliers) - 1:
                self.down.append(Downsample(now))
                skips.append(now)
        self.middle = nn.ModuleList([block(now, now, attend=True, **options), block(now, now, attend=False, **options)])
        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                attend = level in attention
                self.up.append(block(now + skips.pop(), width * multiplier, attend=attend, **options))
                now = width * multiplier
            if level > 0:
                self.up.append(Upsample(now))
        self.tail_norm = Norm(now)
        self.tail = xavier_(nn.Conv2d(now, out_channels, 3, padding=1), gain=1e-5)

    def forward(self, x: Tensor, scales: Sequence[Tensor] = (), shifts: Sequence[Tensor] = ()) -> Tensor:
        """Run the network; scales and shifts hold one (N, C) tensor a conditioned block, in running order."""
        modulation = iter(zip(scales, shifts))
        h = self.head(x)
        skips = [h]
        for layer in self.down:
            h = layer(h, *next(modulation)) if isinstance(layer, AdaGNBlock) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, *next(modulation)) if isinstance(layer, AdaGNBlock) else layer(h)
        for layer in self.up:
            if isinstance(layer, Upsample):
                h = layer(h)
                continue
            skip = skips.pop()
            # Odd sizes come back one pixel larger than they went down.
            h = torch.cat([h[:, :, : skip.shape[2], : skip.shape[3]], skip], dim=1)
            h = layer(h, *next(modulation)) if isinstance(layer, AdaGNBlock) else layer(h)
        return self.tail(self.tail_norm(h))


class UNetBackbone(nn.Module):
    """The denoising network of the video models as ``tables``, ``fold`` and ``network``.

    Source: the authors' AuxiliaryUNetKarras; the dead cross-attention of its blocks is not built.
    """

    def __init__(
        self,
        channels: int,
        factors: int,
        *,
        width: int,
        multipliers: Sequence[int],
        attention: Sequence[int],
        blocks: int,
        dropout: float,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        self.unet = UNet(
            AdaGNBlock,
            channels,
            channels,
            width=width,
            multipliers=multipliers,
            attention=attention,
            blocks=blocks,
            dropout=dropout,
            zero_init=zero_init,
        )
        conditioned = [m.channels for m in self.blocks()]
        self.modulation = Modulation(conditioned, features=width, width=4 * width, factors=factors)

    def blocks(self) -> list[AdaGNBlock]:
        """Return the conditioned blocks in running order."""
        layers = [*self.unet.down, *self.unet.middle, *self.unet.up]
        return [m for m in layers if isinstance(m, AdaGNBlock)]

    def tables(self, c_noise: Tensor, a: Tensor) -> Tables:
        """Return the modulation tables for noise levels c_noise (R,) and factors a (N, D + S)."""
        return Tables(self.modulation.noise_table(c_noise), self.modulation.factor_table(a))

    fold = staticmethod(fold)

    def network(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Run convolutions, norms and attention: x (N, C, H, W), scale and shift (N, sum C) -> like x."""
        # Split, not sliced: the gradient of all parts is then one concatenation.
        channels = list(self.modulation.channels)
        return self.unet(x, scale.split(channels, 1), shift.split(channels, 1))
