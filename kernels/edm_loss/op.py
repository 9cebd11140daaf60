"""edm_loss behind the switch: the public function and the registered operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.kernels import first_use
from diffsda.kernels.arguments import tensors
from diffsda.kernels.backend import resolve
from diffsda.kernels.edm_loss import launches, reference
from diffsda.kernels.launch import FLOATS, require


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
    """Return the mean over elements of lambda(sigma) (D - clean)^2.

    D = c_skip(sigma) (clean + sigma noise) + c_out(sigma) F,  lambda(sigma) = 1 / c_out(sigma)^2

    Shapes: f (F, the network's output, contiguous or channels_last), clean, noise (N, ...); sigma (N,); mask like
    clean, 1 = missing; real (N,), False for padding; count a number or a scalar tensor; scalar result.
    Missing values count as zero error but stay in the mean; padded rows are left out of it altogether. ``count``
    replaces the number of elements; on f's device it is read there.
    Precision: float32 whatever the types (the reference: float64 where an input is). Autocast changes nothing.
    Gradients: of f, in its type and layout; those of clean, noise and sigma only with backend('torch').
    Source: EDM Eq. 8. Differs: our kernel gives missing values and padded rows no gradient even
    where they are not finite, and has a value at sigma 0, where the reference has none.
    Raises: InputError for shapes that do not belong together, or what the chosen backend cannot take.
    """
    tensors("edm_loss", f=f, clean=clean, noise=noise, sigma=sigma)
    which = resolve("edm_loss", f.device)
    options = (sigma_data, mask, real, count)
    if which == "compare":
        reference.check(f, clean, noise, sigma, mask, real, count)
        which = "triton" if _agrees(f, clean, noise, sigma, *options) else "torch"
    if which == "torch":
        return reference.edm_loss(f, clean, noise, sigma, sigma_data=sigma_data, mask=mask, real=real, count=count)
    return _fused(f, clean, noise, sigma, *options)


def _agrees(
    f: Tensor,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    sigma_data: float,
    mask: Tensor | None,
    real: Tensor | None,
    count: float | Tensor | None,
) -> bool:
    """Say whether our kernel takes the call and computes what the reference does."""
    if f.numel() == 0 or not all(t.dtype in FLOATS for t in (f, clean, noise, sigma)) or not _fits(f):
        return False
    if _with_gradient(clean=clean, noise=noise, sigma=sigma, count=count):
        return False

    def ours(f: Tensor) -> Tensor:
        return _fused(f, clean.detach(), noise.detach(), sigma.detach(), sigma_data, mask, real, count)

    def plain(f: Tensor) -> Tensor:
        return reference.edm_loss(
            f, clean.detach(), noise.detach(), sigma.detach(), sigma_data=sigma_data, mask=mask, real=real, count=count
        )

    kinds = tuple(t.dtype for t in (f, clean, noise, sigma))
    planes = clean.is_contiguous()
    flags = (None if mask is None else mask.dtype, real is None, count is None)
    key = (*kinds, tuple(f.shape[1:]), launches.layout(f), planes, *flags)
    return first_use.agrees("edm_loss", key, ours, plain, (f,))


def _fused(
    f: Tensor,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    sigma_data: float,
    mask: Tensor | None,
    real: Tensor | None,
    count: float | Tensor | None,
) -> Tensor:
    """Run our kernel, or say why it cannot."""
    reference.check(f, clean, noise, sigma, mask, real, count)
    if not torch.compiler.is_compiling():  # The operation asks again when it runs.
        for tensor in (f, clean, noise, sigma):
            require("edm_loss", tensor)
    with_gradient = _with_gradient(clean=clean, noise=noise, sigma=sigma, count=count)
    if with_gradient:
        raise InputError(
            f"edm_loss: got {', '.join(with_gradient)} with requires_grad, expected none but f; backend('torch') has "
            "their gradients"
        )
    if not _fits(f):
        raise InputError(
            f"edm_loss: got {tuple(f.shape)}, expected at most {launches.LARGEST_ROW} elements a row and "
            f"{launches.MOST_CHANNELS} channels in channels_last; backend('torch') takes the rest"
        )
    if real is not None and count is None:
        count = real.sum() * clean[0].numel()
    number, size = None, None
    if isinstance(count, Tensor):  # It stays on the device, so that nobody waits for its value.
        number = count.detach().to(f.device, torch.float32, non_blocking=True)
    elif count is not None:
        size = float(count)
    gradient = f.requires_grad and torch.is_grad_enabled()
    loss: Tensor = torch.ops.diffsda.edm_loss(f, clean, noise, sigma, mask, real, number, size, sigma_data, gradient)[0]
    return loss


def _with_gradient(**tensors: float | Tensor | None) -> list[str]:
    """Return the names of those that ask for a gradient."""
    if not torch.is_grad_enabled():
        return []
    return [name for name, t in tensors.items() if isinstance(t, Tensor) and t.requires_grad]


def _fits(f: Tensor) -> bool:
    wide = launches.layout(f) == torch.channels_last and f.shape[1] > launches.MOST_CHANNELS
    return f[:1].numel() <= launches.LARGEST_ROW and not wide


@torch.library.custom_op("diffsda::edm_loss", mutates_args=())
def _forward(
    f: Tensor,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    mask: Tensor | None,
    real: Tensor | None,
    count: Tensor | None,
    size: float | None,
    sigma_data: float,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    require("edm_loss", f)
    return launches.forward(f, clean, noise, sigma, mask, real, count, size, sigma_data, gradient)


@_forward.register_fake
def _(
    f: Tensor,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    mask: Tensor | None,
    real: Tensor | None,
    count: Tensor | None,
    size: float | None,
    sigma_data: float,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    residual = torch.empty(f.shape, dtype=f.dtype, device=f.device, memory_format=launches.layout(f))
    scalars = (f.new_empty((), dtype=torch.float32) for _ in range(2))
    return next(scalars), residual if gradient else f.new_empty((0,)), next(scalars)


@torch.library.custom_op("diffsda::edm_loss_backward", mutates_args=())
def _backward(dloss: Tensor, residual: Tensor, factor: Tensor) -> Tensor:
    return launches.backward(dloss, residual, factor)


@_backward.register_fake
def _(dloss: Tensor, residual: Tensor, factor: Tensor) -> Tensor:
    kind = launches.layout(residual)
    return torch.empty(residual.shape, dtype=residual.dtype, device=residual.device, memory_format=kind)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, residual, factor = output
    ctx.save_for_backward(residual, factor)
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, dloss: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    df = None
    if dloss is not None and ctx.needs_input_grad[0]:
        df = torch.ops.diffsda.edm_loss_backward(dloss, *ctx.saved_tensors)
    return (df, *(None,) * 9)


_forward.register_autograd(_gradients, setup_context=_save)
