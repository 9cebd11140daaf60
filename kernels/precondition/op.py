"""precondition behind the switch: the public function, its launches and the registered operation."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.kernels import first_use
from diffsda.kernels.arguments import tensors
from diffsda.kernels.backend import resolve
from diffsda.kernels.launch import FLOATS, launch, power_of_two, require
from diffsda.kernels.precondition import reference

LARGEST_ROW = 2**30
"""Elements a row may have: places inside a row are 32-bit numbers."""
MOST_CHANNELS = 256
"""Channels a change of layout takes: a tile holds them all."""
TILE = 2048
"""Elements a program covers, 16 a thread."""


def precondition(
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    *,
    sigma_data: float = 0.5,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
) -> Tensor:
    """Add noise to rows and scale them for the network, in its type and layout.

    y = c_in(sigma) (clean + sigma noise),  c_in(sigma) = 1 / sqrt(sigma^2 + sigma_data^2)

    Shapes: clean, noise, y (N, ...), with channels_last (N, C, H, W); sigma (N,). ``dtype`` is y's, clean's if
    left out; y is contiguous, or in channels_last.
    Precision: float32 until the cast (the reference: the widest of the inputs' types). Autocast changes nothing.
    Gradients: of clean and noise; that of sigma only with backend('torch').
    Source: Karras et al. 2022, Table 1 (EDM).
    Raises: InputError for shapes that do not belong together, or what the chosen backend cannot take.
    """
    tensors("precondition", clean=clean, noise=noise, sigma=sigma)
    which = resolve("precondition", clean.device)
    dtype = clean.dtype if dtype is None else dtype
    if which == "compare":
        reference.check(clean, noise, sigma, channels_last)
        which = "triton" if _agrees(clean, noise, sigma, sigma_data, dtype, channels_last) else "torch"
    if which == "torch":
        return reference.precondition(
            clean, noise, sigma, sigma_data=sigma_data, dtype=dtype, channels_last=channels_last
        )
    return _fused(clean, noise, sigma, sigma_data, dtype, channels_last)


def _agrees(
    clean: Tensor, noise: Tensor, sigma: Tensor, sigma_data: float, dtype: torch.dtype, channels_last: bool
) -> bool:
    """Say whether our kernel takes the call and computes what the reference does; gradients are torch's anyway."""
    if clean.numel() == 0 or not all(t.dtype in FLOATS for t in (clean, noise, sigma)) or dtype not in FLOATS:
        return False
    if _wants_gradient(sigma) or not _fits(clean, channels_last):
        return False

    def ours(clean: Tensor, noise: Tensor, sigma: Tensor, _: Tensor) -> Tensor:
        return _fused(clean, noise, sigma, sigma_data, dtype, channels_last)

    def plain(clean: Tensor, noise: Tensor, sigma: Tensor, _: Tensor) -> Tensor:
        return reference.precondition(
            clean, noise, sigma, sigma_data=sigma_data, dtype=dtype, channels_last=channels_last
        )

    key = (clean.dtype, noise.dtype, dtype, tuple(clean.shape[1:]), channels_last)
    # The last input does nothing but show the type that the result is rounded to.
    inputs = (clean, noise, sigma, clean.new_empty((0,), dtype=dtype))
    return first_use.agrees("precondition", key, ours, plain, inputs, gradients=False)


def _fused(
    clean: Tensor, noise: Tensor, sigma: Tensor, sigma_data: float, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    """Run our kernel, or say why it cannot."""
    reference.check(clean, noise, sigma, channels_last)
    if not torch.compiler.is_compiling():  # The operation asks again when it runs.
        for tensor in (clean, noise, sigma):
            require("precondition", tensor)
    if dtype not in FLOATS:
        raise InputError(
            f"precondition: got dtype {dtype}, expected float32, bfloat16 or float16 for backend 'triton'; "
            "backend('torch') takes the rest"
        )
    if _wants_gradient(sigma):
        raise InputError("precondition: got sigma with requires_grad, expected none; backend('torch') has its gradient")
    if not _fits(clean, channels_last):
        raise InputError(
            f"precondition: got {tuple(clean.shape)}, expected at most {LARGEST_ROW} elements a row and "
            f"{MOST_CHANNELS} channels to channels_last; backend('torch') takes the rest"
        )
    y: Tensor = torch.ops.diffsda.precondition(clean, noise, sigma, sigma_data, dtype, channels_last)
    return y


def _wants_gradient(tensor: Tensor) -> bool:
    return tensor.requires_grad and torch.is_grad_enabled()


def _fits(clean: Tensor, channels_last: bool) -> bool:
    return clean[:1].numel() <= LARGEST_ROW and not (channels_last and clean.shape[1] > MOST_CHANNELS)


def forward(
    clean: Tensor, noise: Tensor, sigma: Tensor, sigma_data: float, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    """Launch the kernel that fits the layouts."""
    from diffsda.kernels.precondition import fused

    y = torch.empty(clean.shape, dtype=dtype, device=clean.device, memory_format=_format(channels_last))
    if not y.numel():
        return y
    sigma = sigma.contiguous()
    rows, per_row = clean.shape[0], clean[0].numel()
    same = all(t.is_contiguous(memory_format=_format(channels_last)) for t in (clean, noise))
    if not same:
        clean, noise = clean.contiguous(), noise.contiguous()
    tensors: dict[str, Any] = {"clean": clean, "noise": noise, "sigma": sigma, "y": y}
    if same or not channels_last:
        unit = math.gcd(8, rows * per_row)
        vectors = rows * per_row // unit
        launch(
            fused.precondition_flat,
            (-(-vectors // (TILE // unit)),),
            {**tensors, "vectors": vectors, "sigma_data": sigma_data},
            {"ROW": per_row, "VECTORS": TILE // unit, "UNIT": unit},
            warps=4,
        )
        return y
    channels, pixels = clean.shape[1], clean.shape[2] * clean.shape[3]
    if channels == 3 and pixels % 8 == 0:
        groups = rows * (pixels // 8)
        launch(
            fused.precondition_woven,
            (-(-groups // (TILE // 16)),),
            {**tensors, "groups": groups, "sigma_data": sigma_data},
            {"PER_IMAGE": pixels // 8, "GROUPS": TILE // 16},
            warps=4,
        )
        return y
    padded = power_of_two(channels)
    tile = min(power_of_two(pixels), TILE // padded)
    launch(
        fused.precondition_tiled,
        (rows * -(-pixels // tile),),
        {**tensors, "sigma_data": sigma_data},
        {"C": channels, "HW": pixels, "CHANNELS": padded, "PIXELS": tile},
        warps=4,
    )
    return y


def _format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


@torch.library.custom_op("diffsda::precondition", mutates_args=())
def _forward(
    clean: Tensor, noise: Tensor, sigma: Tensor, sigma_data: float, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    require("precondition", clean)
    return forward(clean, noise, sigma, sigma_data, dtype, channels_last)


@_forward.register_fake
def _(
    clean: Tensor, noise: Tensor, sigma: Tensor, sigma_data: float, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    return torch.empty(clean.shape, dtype=dtype, device=clean.device, memory_format=_format(channels_last))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    clean, noise, sigma, ctx.sigma_data, _, _ = inputs
    ctx.types = clean.dtype, noise.dtype
    ctx.save_for_backward(sigma)


def _gradients(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of a linear map, in float32 until their cast."""
    (sigma,) = ctx.saved_tensors
    column = sigma.float().reshape(-1, *(1,) * (dy.ndim - 1))
    dclean = dy.float() / (column**2 + ctx.sigma_data**2) ** 0.5
    dnoise = (dclean * column).to(ctx.types[1]) if ctx.needs_input_grad[1] else None
    return dclean.to(ctx.types[0]) if ctx.needs_input_grad[0] else None, dnoise, None, None, None, None


_forward.register_autograd(_gradients, setup_context=_save)
