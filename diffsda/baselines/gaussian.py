"""Gaussians with a diagonal covariance: draws, divergences, and the pair of linear layers that predicts one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffsda.errors import InputError


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian a row, with independent dimensions.

    Shapes: mean and logvar (..., D), logvar the logarithm of the variance. Any leading shape; two Gaussians are
    compared under the usual broadcasting.
    """

    mean: Tensor
    logvar: Tensor

    def __post_init__(self) -> None:
        if self.mean.shape != self.logvar.shape:
            raise InputError(
                f"gaussian: got mean {tuple(self.mean.shape)} and logvar {tuple(self.logvar.shape)}, expected the same"
            )

    def sample(self, eps: Tensor) -> Tensor:
        """Return mean + eps * standard deviation; eps (..., D) are unit normals."""
        return self.mean + eps * (self.logvar / 2).exp()

    def kl(self) -> Tensor:
        """Return KL(self || N(0, I)) in nats, summed over the dimensions: (...)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - self.logvar - 1).sum(-1)

    def kl_to(self, other: Gaussian) -> Tensor:
        """Return KL(self || other) in nats, summed over the dimensions: (...)."""
        apart = self.logvar - other.logvar
        far = (self.mean - other.mean).square() * (-other.logvar).exp()
        return 0.5 * (far + apart.exp() - apart - 1).sum(-1)

    def __getitem__(self, rows: object) -> Gaussian:
        """Select along the leading axes, as tensors do."""
        return Gaussian(self.mean[rows], self.logvar[rows])  # type: ignore[index]


class GaussianHead(nn.Module):
    """Predict a Gaussian from features with two linear layers.

    Shapes: (..., F) -> mean and logvar (..., D). ``squash`` puts a leaky ReLU of slope 0.2 after both.
    """

    def __init__(self, features: int, size: int, *, squash: bool = False) -> None:
        super().__init__()
        self.mean = nn.Linear(features, size)
        self.logvar = nn.Linear(features, size)
        self.squash = squash

    def forward(self, h: Tensor) -> Gaussian:
        mean, logvar = self.mean(h), self.logvar(h)
        if self.squash:
            mean, logvar = (torch.nn.functional.leaky_relu(v, 0.2) for v in (mean, logvar))
        if mean.dtype in (torch.bfloat16, torch.float16):
            # Divergences are differences of like numbers: in half precision they would be noise, negative at times.
            mean, logvar = mean.float(), logvar.float()
        return Gaussian(mean, logvar)
