"""The patch discriminator: a score for every overlapping patch of a frame, real or reconstructed."""

from __future__ import annotations

from torch import Tensor, nn

from diffsda.errors import InputError

_WIDEST = 8
"""Layers grow to at most this multiple of the first one's width."""


class PatchDiscriminator(nn.Sequential):
    """Strided 4x4 convolutions with batch norm, then one score a patch.

    Shapes: x (N, C, H, W) -> (N, 1, h, w), h about H / 2^layers.
    Source: Isola et al. 2017 (pix2pix) and their initialisation, as latent diffusion trains its autoencoders.
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 3) -> None:
        parts: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        before = width
        for i in range(1, layers + 1):
            after = width * min(2**i, _WIDEST)
            # The batch norm has a bias of its own; the last of these layers keeps the resolution.
            parts.append(nn.Conv2d(before, after, 4, stride=2 if i < layers else 1, padding=1, bias=False))
            parts += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
            before = after
        super().__init__(*parts, nn.Conv2d(before, 1, 4, padding=1))
        self.apply(_initialise)


def check_patches(size: int, layers: int) -> None:
    """Refuse frames that are too small for a discriminator of so many layers.

    Raises: InputError.
    """
    left = size // 2**layers - 2
    if left < 1:
        raise InputError(
            f"fit.disc_layers: got {layers} for frames of {size} pixels, expected at most "
            f"{max((n for n in range(1, 12) if size // 2**n > 2), default=0)}"
        )


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's loss: the mean of what scores of either kind lack to their side of the margin."""
    return 0.5 * ((1 - real).relu().mean() + (1 + fake).relu().mean())


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)
