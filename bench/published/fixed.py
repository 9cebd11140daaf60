"""The published model after what any user can do for free: bf16 autocast, channels_last, no waiting for the host.

The network, its operations and their order stay the authors'; torch.compile takes it as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from diffsda.bench.published.model import Published
from diffsda.bench.published.sampler import schedule

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""D of x (B, V, ...), noise levels (B * V,) and the condition: like x."""


def fixed(model: Published, *, train: bool) -> Published:
    """Return a copy in channels_last; unless it is to be trained, convolutions hold their weights in bf16."""
    model = copy.deepcopy(model)
    # A memory format alone is missing from the types that torch declares.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not train:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.to(torch.bfloat16)
    return model


def denoiser(model: Published, compiled: str | None = None) -> Denoise:
    """Return D under autocast, optionally through torch.compile in the mode named."""
    device = next(model.parameters()).device.type

    def denoise(x: Tensor, sigma: Tensor, a: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            return model._precondition(x, sigma, a).reshape(x.shape)

    if compiled is None:
        return denoise
    net = torch.compile(denoise, mode=compiled, dynamic=False)

    def call(x: Tensor, sigma: Tensor, a: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        # A replay overwrites what the last one returned.
        return net(x, sigma, a).clone()

    return call


@torch.no_grad()
def sample(denoise: Denoise, model: Published, noise: Tensor, a: Tensor, steps: int | None = None) -> Tensor:
    """Turn unit noise into clips: the authors' solver with its levels on the host and float32 updates.

    Shapes: noise, output (B, V, ...); a as ``encode`` returns it.
    """
    steps = steps or model.recipe.sampling.steps
    sigmas = schedule(steps, model.recipe.sampling).tolist()
    rows = noise.shape[0] * noise.shape[1]
    levels = torch.tensor(sigmas, device=noise.device)[:, None].expand(-1, rows).contiguous()
    x = noise * sigmas[0]
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        slope = (x - denoise(x, levels[i], a)) / sigma
        x_next = x + (sigma_next - sigma) * slope
        if i < steps - 1:
            slope_next = (x_next - denoise(x_next, levels[i + 1], a)) / sigma_next
            x_next = x + (sigma_next - sigma) * (0.5 * slope + 0.5 * slope_next)
        x = x_next
    return x


def trainer(
    model: Published, adamw: torch.optim.Optimizer, compiled: str | None = None
) -> Callable[[Tensor, tuple[Tensor, Tensor]], Tensor]:
    """Return a training step on clips (B, V, ...) and given noise that leaves its loss on the device."""
    device = next(model.parameters()).device.type
    forward: Callable[..., Tensor] = model if compiled is None else torch.compile(model, mode=compiled, dynamic=False)

    def step(x: Tensor, noise: tuple[Tensor, Tensor]) -> Tensor:
        adamw.zero_grad(set_to_none=True)
        if compiled is not None:
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(device, torch.bfloat16):
            loss = forward(x, None, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), model.recipe.optim.clip)
        adamw.step()
        return loss.detach().clone()

    return step
