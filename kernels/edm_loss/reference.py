"""The plain torch form of edm_loss: differentiable, no cleverness."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.errors import InputError


def edm_loss(
    f: Tensor,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    *,
    sigma_data: float = 0.5,
    mask: Tensor | None = None,
    real: Tensor | None = None,
    count: float | Tensor | None = None,
) -> Tensor:
    """Return the mean over elements of lambda(sigma) (D - clean)^2, at least in float32.

    D = c_skip(sigma) (clean + sigma noise) + c_out(sigma) F,  lambda(sigma) = 1 / c_out(sigma)^2

    Shapes: f (F, the network's output), clean, noise (N, ...); sigma (N,); mask like clean, 1 = missing; real (N,)
    marks rows that are not padding; count a number or a scalar on any device; scalar result.
    Missing values count as zero error but stay in the mean; padded rows are left out of it altogether. ``count``
    replaces the number of elements.
    Source: EDM Eq. 8 and Table 1; missing values and padding as in the authors' code.
    Raises: InputError for shapes that do not belong together.
    """
    check(f, clean, noise, sigma, mask, real, count)
    extra = (1,) * (clean.ndim - 1)
    column = sigma.reshape(-1, *extra)
    square = column**2 + sigma_data**2
    denoised = sigma_data**2 / square * (clean + column * noise) + column * sigma_data / square**0.5 * f
    weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    kind = torch.promote_types(denoised.dtype, torch.float32)
    error = weight.reshape(-1, *extra) * (denoised.to(kind) - clean.to(kind)) ** 2
    if mask is not None:
        error = torch.where(mask == 1, torch.zeros_like(error), error)
    if real is not None:
        error = torch.where(real.reshape(-1, *extra), error, torch.zeros_like(error))
        count = real.sum() * clean[0].numel() if count is None else count
    return error.mean() if count is None else error.sum() / count


def check(
    f: Tensor,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    mask: Tensor | None,
    real: Tensor | None,
    count: float | Tensor | None,
) -> None:
    """Refuse arguments that do not belong together.

    Raises: InputError.
    """
    if clean.ndim < 2:
        raise InputError(f"edm_loss: got clean {tuple(clean.shape)}, expected rows (N, ...)")
    rows = clean.shape[:1]
    for name, tensor, shape in (
        ("f", f, clean.shape),
        ("noise", noise, clean.shape),
        ("mask", mask, clean.shape),
        ("sigma", sigma, rows),
        ("real", real, rows),
    ):
        if tensor is not None and tensor.shape != shape:
            raise InputError(f"edm_loss: got {name} {tuple(tensor.shape)}, expected {tuple(shape)}")
        if tensor is not None and tensor.device != clean.device:
            raise InputError(f"edm_loss: got {name} on {tensor.device}, expected {clean.device} like clean")
    if real is not None and real.dtype != torch.bool:
        raise InputError(f"edm_loss: got real of {real.dtype}, expected torch.bool")
    if isinstance(count, Tensor) and count.ndim:
        raise InputError(f"edm_loss: got count {tuple(count.shape)}, expected a scalar")
