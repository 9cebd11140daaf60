"""The plain torch form of precondition: differentiable, no cleverness."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.errors import InputError


def precondition(
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    *,
    sigma_data: float = 0.5,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
) -> Tensor:
    """Add noise to rows and scale them for the network.

    y = c_in(sigma) (clean + sigma noise),  c_in(sigma) = 1 / sqrt(sigma^2 + sigma_data^2)

    Shapes: clean, noise, y (N, ...), with channels_last (N, C, H, W); sigma (N,).
    Source: Karras et al. 2022, Table 1 (EDM).
    Raises: InputError for shapes that do not belong together.
    """
    check(clean, noise, sigma, channels_last)
    column = sigma.reshape(-1, *(1,) * (clean.ndim - 1))
    noisy = clean + column * noise
    y = (1 / (column**2 + sigma_data**2) ** 0.5 * noisy).to(clean.dtype if dtype is None else dtype)
    return y.contiguous(memory_format=torch.channels_last) if channels_last else y.contiguous()


def check(clean: Tensor, noise: Tensor, sigma: Tensor, channels_last: bool) -> None:
    """Refuse arguments that do not belong together.

    Raises: InputError.
    """
    if clean.ndim < 2 or noise.shape != clean.shape:
        raise InputError(
            f"precondition: got clean {tuple(clean.shape)} and noise {tuple(noise.shape)}, expected rows (N, ...) of "
            "the same shape"
        )
    if sigma.shape != clean.shape[:1]:
        raise InputError(f"precondition: got sigma {tuple(sigma.shape)}, expected {tuple(clean.shape[:1])}")
    if channels_last and clean.ndim != 4:
        raise InputError(f"precondition: got channels_last for {tuple(clean.shape)}, expected (N, C, H, W)")
    if not clean.device == noise.device == sigma.device:
        devices = sorted({str(t.device) for t in (clean, noise, sigma)})
        raise InputError(f"precondition: got tensors on {', '.join(devices)}, expected one device")
