"""The vector-quantised first stage: continuous latents out, codes in before decoding."""

from __future__ import annotations

from torch import Tensor, nn

from diffsda.firststage.autoencoder import Autoencoder
from diffsda.firststage.codebook import Codebook
from diffsda.firststage.recipe import FirstStage


class QuantisedAutoencoder(Autoencoder):
    """Encode to continuous latents; decode by way of the nearest codes.

    Source: VQGAN as used by latent diffusion; DiffSDA takes latents before quantisation, so that it models
    continuous values, and quantises only on the way back.
    """

    def __init__(self, stage: FirstStage) -> None:
        super().__init__(stage, stage.latent)
        self.quantize = Codebook(stage.codes, stage.latent)
        self.quant_conv = nn.Conv2d(stage.latent, stage.latent, 1)
        self.post_quant_conv = nn.Conv2d(stage.latent, stage.latent, 1)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents before quantisation; see ``Autoencoder.encode``."""
        self.check_frames(x)
        return self.quant_conv(self.encoder(x))

    def quantise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest codes and their indices; gradients reach the codes, not z.

        Shapes: z (N, c, h, w) -> (N, c, h, w), (N, h, w) int64.
        """
        self.check_latents(z)
        codes, indices = self.quantize(z)
        return codes, indices

    def decode(self, z: Tensor) -> Tensor:
        """Quantise, then decode; see ``Autoencoder.decode``."""
        return self.decode_codes(self.quantise(z)[0])

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Decode what is quantised already, or is not to be."""
        self.check_latents(codes)
        return self.decoder(self.post_quant_conv(codes))
