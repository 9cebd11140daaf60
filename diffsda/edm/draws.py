"""The noise of a training step, from a seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsda.edm.loss import draw_sigma
from diffsda.recipe import Noise


@dataclass(frozen=True)
class Draws:
    """The noise of a whole step, over all processes and parts, draw after draw.

    Shapes: sigma (K, B, V or 1), noise (K, B, V, ...).
    """

    sigma: Tensor
    noise: Tensor

    def rows(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return sigma (K*b, V or 1) and noise (K*b, V, ...) of some of the clips."""
        return self.sigma[:, rows].flatten(0, 1), self.noise[:, rows].flatten(0, 1)


def draw(noise: Noise, count: int, shape: Sequence[int], seed: int, device: torch.device) -> Draws:
    """Draw noise levels and unit noise, ``count`` times a clip, on the device.

    Every process draws the noise of the whole batch and uses its own rows: what a clip gets does not depend
    on how many processes or parts share the work.
    Shapes: shape is that of the whole batch (B, V, ...).
    """
    generator = torch.Generator(device).manual_seed(seed)
    batch, frames = shape[0], shape[1]
    sigma = draw_sigma(count * batch, frames, noise, device=device, generator=generator)
    unit = torch.randn((count, *shape), generator=generator, device=device)
    return Draws(sigma.unflatten(0, (count, batch)), unit)
