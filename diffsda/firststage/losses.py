"""What a first stage is fitted by: the terms of its loss, and the weight of the adversarial one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from diffsda.firststage.kl import VariationalAutoencoder
from diffsda.firststage.vq import QuantisedAutoencoder

BETA = 0.25
"""Weight of drawing latents to their codes, beside 1 for drawing codes to latents."""
_MOST = 1e4


@dataclass(frozen=True)
class Pass:
    """One pass through a first stage: latents, frames back, the latents' own loss, and the codes met.

    Shapes: z (N, c, h, w), back (N, C, H, W), prior (), indices (N, h, w) or None for kl.
    """

    z: Tensor
    back: Tensor
    prior: Tensor
    indices: Tensor | None


def run_quantised(model: QuantisedAutoencoder, x: Tensor) -> Pass:
    """Reconstruct by way of codes; gradients go past the rounding as if there were none.

    The latents' loss is the mean square between codes and latents: 1 drawing codes, ``BETA`` drawing latents.
    Source: van den Oord et al. 2017, Eq. 3. Differs from the authors' quantiser, whose weights are the other way round.
    """
    z = model.encode(x).float()
    codes, indices = model.quantise(z)
    prior = F.mse_loss(codes, z.detach()) + BETA * F.mse_loss(z, codes.detach())
    straight = z + (codes - z).detach()
    return Pass(z, model.decode_codes(straight).float(), prior, indices)


def run_variational(model: VariationalAutoencoder, x: Tensor, generator: torch.Generator) -> Pass:
    """Reconstruct by way of a draw; the latents' loss is the divergence from a unit Gaussian a value of the frames.

    Source: latent diffusion, whose weight of 1e-6 is of the sum over a frame, beside the sum of its errors; both are
    divided by the number of values here.
    """
    posterior = model.posterior(x)
    prior = posterior.kl().float().mean() / x[0].numel()
    z = posterior.sample(generator)
    return Pass(z, model.decode(z).float(), prior, None)


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """Return how many times the adversarial gradient fits into the reconstruction's, at the last layer's weight.

    Source: VQGAN, Eq. 6 and 7.
    """
    norms = [
        torch.autograd.grad(loss, last, retain_graph=True)[0].float().norm() for loss in (reconstruction, adversarial)
    ]
    return (norms[0] / (norms[1] + 1e-4)).clamp(0, _MOST).detach()


def psnr(x: Tensor, back: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of reconstructed frames in [-1, 1], in dB."""
    error = (x.float() - back.float().clamp(-1, 1)).square().mean()
    return 10 * torch.log10(4 / error.clamp_min(1e-12))
