"""Convolutional networks for frames of 64 x 64: one down to a vector, two back up."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from diffsda.errors import InputError

SIZE = 64
"""Height and width of a frame: five halvings to a single cell, the last a valid convolution."""


class FrameEncoder(nn.Sequential):
    """Read frames as vectors: four strided convolutions of 1, 2, 4 and 8 times ``width`` channels, then one to G.

    Shapes: (N, C, 64, 64) -> (N, G), within -1 and 1. Batch norm after every convolution.
    Source: DCGAN's discriminator, as DBSE and SPYL use it.
    """

    def __init__(self, channels: int, features: int, width: int = 64) -> None:
        sizes = [channels, *(width * m for m in (1, 2, 4, 8))]
        blocks: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)) for a, b in pairwise(sizes)
        ]
        last = nn.Sequential(nn.Conv2d(sizes[-1], features, 4), nn.BatchNorm2d(features), nn.Tanh())
        super().__init__(*blocks, last, nn.Flatten())


class TransposedDecoder(nn.Sequential):
    """Draw frames from vectors with transposed convolutions, the encoder's mirror image.

    Shapes: (N, F) -> (N, C, 64, 64), within 0 and 1.
    Source: DCGAN's generator, as DBSE (its default decoder) and SPYL use it.
    """

    def __init__(self, features: int, channels: int, width: int = 64) -> None:
        sizes = [width * m for m in (8, 4, 2, 1)]
        first = nn.Sequential(nn.ConvTranspose2d(features, sizes[0], 4), nn.BatchNorm2d(sizes[0]), nn.LeakyReLU(0.2))
        blocks: list[nn.Module] = [
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))
            for a, b in pairwise(sizes)
        ]
        last = nn.Sequential(nn.ConvTranspose2d(sizes[-1], channels, 4, 2, 1), nn.Sigmoid())
        super().__init__(nn.Unflatten(1, (features, 1, 1)), first, *blocks, last)


class UpsamplingDecoder(nn.Sequential):
    """Draw frames from vectors: a transposed convolution, then bilinear doubling and 3 x 3 convolutions.

    Shapes: (N, F) -> (N, C, 64, 64), within 0 and 1.
    Source: DBSE's other decoder.
    """

    def __init__(self, features: int, channels: int, width: int = 64) -> None:
        sizes = [width * m for m in (8, 4, 2, 2, 1)]
        first = nn.Sequential(nn.ConvTranspose2d(features, sizes[0], 4), nn.BatchNorm2d(sizes[0]), nn.ReLU())
        blocks: list[nn.Module] = [
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(a, b, 3, 1, 1), nn.BatchNorm2d(b), nn.ReLU()
            )
            for a, b in pairwise(sizes)
        ]
        last = nn.Sequential(nn.Conv2d(sizes[-1], channels, 1), nn.Sigmoid())
        super().__init__(nn.Unflatten(1, (features, 1, 1)), first, *blocks, last)


def initialise_(module: nn.Module) -> None:
    """Set starting weights: convolutions and linear layers N(0, 0.01²) with zero bias, norms 1 and 0.

    Transposed convolutions and recurrent layers keep torch's own. ``module.apply`` takes it through a system.
    Source: the code of DBSE and SPYL.
    """
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, 0.0, 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def frames_through(network: nn.Module, x: Tensor) -> Tensor:
    """Run a network of frames over clips: (B, V, ...) -> (B, V, ...)."""
    y: Tensor = network(x.flatten(0, 1))
    return y.unflatten(0, x.shape[:2])


def real_frames_through(network: nn.Module, x: Tensor, real: Tensor | None) -> Tensor:
    """Run a network of frames over the real frames of clips; padded ones come back as 0.

    Norms take their statistics from real frames alone. Shapes: x (B, V, ...), real (B, V) or None for all.
    """
    if real is None:
        return frames_through(network, x)
    y: Tensor = network(x[real])
    return y.new_zeros((*x.shape[:2], *y.shape[1:])).masked_scatter(real.reshape(*real.shape, *(1,) * (y.ndim - 1)), y)


def expect_frames(x: Tensor, channels: int) -> Tensor:
    """Return clips as they are where they are (B, V, C, 64, 64).

    Raises: InputError.
    """
    if x.ndim != 5 or tuple(x.shape[2:]) != (channels, SIZE, SIZE) or not torch.is_floating_point(x):
        raise InputError(
            f"x: got {tuple(x.shape)} of {x.dtype}, expected (B, V, {channels}, {SIZE}, {SIZE}) of floating point"
        )
    return x
