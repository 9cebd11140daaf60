"""The variational first stage: a Gaussian over latents for every frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffsda.firststage.autoencoder import Autoencoder
from diffsda.firststage.recipe import FirstStage

_LOWEST, _HIGHEST = -30.0, 20.0
"""Bounds of the log variance, beyond which its exponential is of no use."""


@dataclass(frozen=True)
class Posterior:
    """A Gaussian a latent value, independent of each other.

    Shapes: mean, logvar (N, c, h, w).
    """

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw latents; the generator is on the CPU, so that a seed means the same on every device."""
        unit = torch.randn(self.mean.shape, generator=generator, dtype=torch.float32)
        return self.mean + (0.5 * self.logvar).exp() * unit.to(self.mean)

    def kl(self) -> Tensor:
        """Return the divergence from a unit Gaussian, summed over a frame: (N,)."""
        each = 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)
        return each.sum((1, 2, 3))


class VariationalAutoencoder(Autoencoder):
    """Encode to the mean of a Gaussian, or a draw from it.

    Source: the KL-regularised autoencoders of latent diffusion. Differs: the authors draw a sample whenever they
    encode; the mean is the default here, so that latents of a clip are always the same.
    """

    def __init__(self, stage: FirstStage) -> None:
        super().__init__(stage, 2 * stage.latent)
        self.quant_conv = nn.Conv2d(2 * stage.latent, 2 * stage.latent, 1)
        self.post_quant_conv = nn.Conv2d(stage.latent, stage.latent, 1)

    def posterior(self, x: Tensor) -> Posterior:
        """Return the Gaussians of frames (N, C, H, W)."""
        self.check_frames(x)
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(_LOWEST, _HIGHEST))

    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the posterior's mean, or a draw where a generator is given; see ``Autoencoder.encode``."""
        posterior = self.posterior(x)
        return posterior.mean if generator is None else posterior.sample(generator)

    def decode(self, z: Tensor) -> Tensor:
        """Return the frames of latents; see ``Autoencoder.decode``."""
        self.check_latents(z)
        return self.decoder(self.post_quant_conv(z))
