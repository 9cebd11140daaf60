"""The autoencoder of frames: encoder, decoder, and what the two kinds of first stage share."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from diffsda.errors import InputError
from diffsda.firststage.blocks import Downsample, Level, Middle, Upsample, conv3, norm
from diffsda.firststage.recipe import FirstStage


class Encoder(nn.Module):
    """Frames to features: levels downwards, middle, norm, convolution.

    Shapes: x (N, C, H, W) -> (N, out, H / factor, W / factor).
    """

    def __init__(self, stage: FirstStage, out: int) -> None:
        super().__init__()
        widths = [stage.width * m for m in stage.multipliers]
        self.conv_in = conv3(stage.channels, stage.width)
        self.down = nn.ModuleList()
        before = stage.width
        for i, width in enumerate(widths):
            level = Level(before, width, stage.blocks, attend=i in stage.attention)
            if i < len(widths) - 1:
                level.downsample = Downsample(width)
            self.down.append(level)
            before = width
        self.mid = Middle(before)
        self.norm_out = norm(before)
        self.conv_out = conv3(before, out)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        return self.conv_out(self.norm_out(self.mid(h)))


class Decoder(nn.Module):
    """Latents to frames: middle, levels upwards with one block more than downwards, norm, convolution.

    Shapes: z (N, latent, h, w) -> (N, C, h * factor, w * factor).
    """

    def __init__(self, stage: FirstStage) -> None:
        super().__init__()
        widths = [stage.width * m for m in stage.multipliers]
        self.conv_in = conv3(stage.latent, widths[-1])
        self.mid = Middle(widths[-1])
        levels = []
        before = widths[-1]
        for i, width in reversed(list(enumerate(widths))):
            level = Level(before, width, stage.blocks + 1, attend=i in stage.attention)
            if i > 0:
                level.upsample = Upsample(width)
            levels.append(level)
            before = width
        # Level 0 is the finest in both halves, as in the files; the decoder runs through them backwards.
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = norm(before)
        self.conv_out = conv3(before, stage.channels)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(self.norm_out(h))


class Autoencoder(nn.Module):
    """A first stage: frames (N, C, H, W) in [-1, 1] to latents (N, c, h, w) and back.

    Source: the latent-diffusion autoencoders and the authors' interface to them.
    """

    def __init__(self, stage: FirstStage, moments: int) -> None:
        super().__init__()
        self.stage = stage
        self.provenance: dict[str, Any] = {}
        self.encoder = Encoder(stage, moments)
        self.decoder = Decoder(stage)

    def encode(self, x: Tensor) -> Tensor:
        """Return the continuous latents of frames.

        Shapes: x (N, C, H, W) -> (N, c, H / factor, W / factor).
        Raises: InputError for frames of other channels or of a size the factor does not divide.
        """
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Return the frames of latents; values may lie a little outside [-1, 1].

        Shapes: z (N, c, h, w) -> (N, C, h * factor, w * factor).
        Raises: InputError for latents of other channels.
        """
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.conv_out.weight.device

    def digest(self) -> str:
        """Return the SHA-256 of the float32 weights and their names, by which files name this first stage.

        The same for one autoencoder whatever kind of file it was read from.
        """
        total = hashlib.sha256(self.stage.kind.encode())
        for name, value in sorted(self.state_dict().items()):
            total.update(f"{name} {tuple(value.shape)}".encode())
            total.update(value.detach().to("cpu", torch.float32).contiguous().numpy().data)
        return total.hexdigest()

    def check_frames(self, x: Tensor) -> None:
        """Refuse what is no batch of frames for this first stage.

        Raises: InputError.
        """
        stage = self.stage
        if x.ndim != 4 or x.shape[1] != stage.channels or x.shape[2] % stage.factor or x.shape[3] % stage.factor:
            raise InputError(
                f"first stage: got frames {tuple(x.shape)}, expected (N, {stage.channels}, H, W) with H and W "
                f"multiples of {stage.factor}"
            )

    def check_latents(self, z: Tensor) -> None:
        """Refuse what is no batch of latents for this first stage.

        Raises: InputError.
        """
        if z.ndim != 4 or z.shape[1] != self.stage.latent:
            raise InputError(f"first stage: got latents {tuple(z.shape)}, expected (N, {self.stage.latent}, h, w)")
