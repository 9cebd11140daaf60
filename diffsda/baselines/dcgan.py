"""Convolutional networks for square frames, 64 x 64 as published: one down to a vector, two back up.

A frame of another size takes one strided level fewer or more for every halving or doubling. Levels are counted from the
4 x 4 bottom and keep the width they have at 64 x 64 (8, 4, 2 and 1 times ``width`` upwards); levels above these, for
larger frames, have the width of the topmost. So all sizes end alike where codes are read off and written.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from diffsda.baselines.frame_size import PUBLISHED_SIZE, halvings
from diffsda.errors import InputError

_UPWARDS = (8, 4, 2, 1, 1, 1)
_UPSAMPLED = (8, 4, 2, 2, 1, 1, 1)


class FrameEncoder(nn.Sequential):
    """Read frames as vectors: strided convolutions of 1, 2, 4 and 8 times ``width`` channels, then one to G.

    Shapes: (N, C, H, H) -> (N, G), within -1 and 1, H being ``size``. Batch norm after every convolution.
    Source: DCGAN's discriminator, as DBSE and SPYL use it. Differs: other sizes than 64, see the module.
    Raises: InputError for a size that is not a power of two from 16 to 256.
    """

    def __init__(self, channels: int, features: int, width: int = 64, size: int = PUBLISHED_SIZE) -> None:
        sizes = [channels, *(width * m for m in reversed(_UPWARDS[: halvings(size)]))]
        blocks: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)) for a, b in pairwise(sizes)
        ]
        last = nn.Sequential(nn.Conv2d(sizes[-1], features, 4), nn.BatchNorm2d(features), nn.Tanh())
        super().__init__(*blocks, last, nn.Flatten())


class TransposedDecoder(nn.Sequential):
    """Draw frames from vectors with transposed convolutions, the encoder's mirror image.

    Shapes: (N, F) -> (N, C, H, H), within 0 and 1, H being ``size``.
    Source: DCGAN's generator, as DBSE (its default decoder) and SPYL use it. Differs: other sizes than 64, see the
    module.
    Raises: InputError for a size that is not a power of two from 16 to 256.
    """

    def __init__(self, features: int, channels: int, width: int = 64, size: int = PUBLISHED_SIZE) -> None:
        sizes = [width * m for m in _UPWARDS[: halvings(size)]]
        first = nn.Sequential(nn.ConvTranspose2d(features, sizes[0], 4), nn.BatchNorm2d(sizes[0]), nn.LeakyReLU(0.2))
        blocks: list[nn.Module] = [
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))
            for a, b in pairwise(sizes)
        ]
        last = nn.Sequential(nn.ConvTranspose2d(sizes[-1], channels, 4, 2, 1), nn.Sigmoid())
        super().__init__(nn.Unflatten(1, (features, 1, 1)), first, *blocks, last)


class UpsamplingDecoder(nn.Sequential):
    """Draw frames from vectors: a transposed convolution, then bilinear doubling and 3 x 3 convolutions.

    Shapes: (N, F) -> (N, C, H, H), within 0 and 1, H being ``size``.
    Source: DBSE's other decoder. Differs: other sizes than 64, by the rule of the module with widths 8, 4, 2, 2 and 1.
    Raises: InputError for a size that is not a power of two from 16 to 256.
    """

    def __init__(self, features: int, channels: int, width: int = 64, size: int = PUBLISHED_SIZE) -> None:
        sizes = [width * m for m in _UPSAMPLED[: halvings(size) + 1]]
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


def expect_frames(x: Tensor, channels: int, size: int = PUBLISHED_SIZE) -> Tensor:
    """Return clips as they are where they are (B, V, C, H, H), H being ``size``.

    Raises: InputError.
    """
    if x.ndim != 5 or tuple(x.shape[2:]) != (channels, size, size) or not torch.is_floating_point(x):
        raise InputError(
            f"x: got {tuple(x.shape)} of {x.dtype}, expected (B, V, {channels}, {size}, {size}) of floating point"
        )
    return x
