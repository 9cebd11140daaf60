"""EDM preconditioning: the four coefficients and the loss weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

Number = TypeVar("Number", float, Tensor)


@dataclass(frozen=True)
class Precondition:
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), for floats and tensors alike.

    Source: Karras et al. 2022, Table 1 (EDM); DiffSDA section 3.
    """

    sigma_data: float = 0.5

    def c_skip(self, sigma: Number) -> Number:
        """Return the share of the noisy input that is kept: sigma_data^2 / (sigma^2 + sigma_data^2)."""
        return self.sigma_data**2 / (sigma**2 + self.sigma_data**2)

    def c_out(self, sigma: Number) -> Number:
        """Return the scale of the network's output."""
        return sigma * self.sigma_data / (sigma**2 + self.sigma_data**2) ** 0.5

    def c_in(self, sigma: Number) -> Number:
        """Return the scale that gives the network's input unit variance."""
        return 1 / (sigma**2 + self.sigma_data**2) ** 0.5

    def weight(self, sigma: Number) -> Number:
        """Return the loss weight lambda(sigma) = 1 / c_out^2."""
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2


def c_noise(sigma: Tensor) -> Tensor:
    """Return what the network is told of the noise level: ln(sigma) / 4."""
    return sigma.log() / 4
