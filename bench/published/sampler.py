"""Heun's method and stochastic encoding as the authors' code executes them.

The state is float32; slopes and updates are float64. Noise levels live on the device, so comparing one
waits for the device. Noise is drawn at every step and multiplied by zero. 2T - 1 evaluations of the network.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from diffsda.bench.published.model import Published
from diffsda.recipe import Sampling

S_CHURN, S_MIN, S_MAX, S_NOISE = 0.0, 0.0, math.inf, 1.0
START = 1e-5
"""The noise level a clean clip is taken to have when it is encoded."""


def schedule(steps: int, sampling: Sampling, device: torch.device | str = "cpu") -> Tensor:
    """Return sigma (T + 1,) float64, falling from sigma_max to sigma_min and then 0.

    Source: the authors' code (EDM's schedule).
    """
    i = torch.arange(steps, dtype=torch.float64, device=device)
    top, bottom = sampling.sigma_max ** (1 / sampling.rho), sampling.sigma_min ** (1 / sampling.rho)
    sigmas = (top + i / (steps - 1) * (bottom - top)) ** sampling.rho
    return torch.cat([sigmas, torch.zeros_like(sigmas[:1])])


@torch.no_grad()
def sample(model: Published, noise: Tensor, a: Tensor, steps: int | None = None) -> Tensor:
    """Turn unit noise into clips under the condition a.

    Shapes: noise, output (B, V, ...); a as ``encode`` returns it. ``steps`` T defaults to the recipe's.
    """
    steps = steps or model.recipe.sampling.steps
    sigmas = schedule(steps, model.recipe.sampling, noise.device)
    x_next = noise * sigmas[0]
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x = x_next
        gamma = min(S_CHURN / steps, math.sqrt(2) - 1) if S_MIN <= sigma <= S_MAX else 0
        sigma_hat = sigma + gamma * sigma
        x_hat = x + (sigma_hat**2 - sigma**2).sqrt() * S_NOISE * torch.randn_like(x)
        x_next = _heun(model, x_hat, sigma_hat, sigma_next, a, correct=i < steps - 1)
    return x_next


@torch.no_grad()
def reverse(model: Published, x: Tensor, a: Tensor, steps: int | None = None) -> Tensor:
    """Return the stochastic code of clean clips: unit noise from which ``sample`` leads back to them.

    Here the levels rise from 1e-5 to sigma_max; nothing is drawn.
    Shapes: x, output (B, V, ...).
    """
    steps = steps or model.recipe.sampling.steps
    sigmas = schedule(steps, model.recipe.sampling, x.device).flip(0)
    sigmas[0] = START
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x = _heun(model, x, sigma, sigma_next, a, correct=i < steps - 1)
    return x / model.recipe.sampling.sigma_max


def _heun(model: Published, x: Tensor, sigma: Tensor, sigma_next: Tensor, a: Tensor, *, correct: bool) -> Tensor:
    """Step x (float32) from sigma to sigma_next: Euler, then a second evaluation when ``correct``."""
    denoised = model.denoise(x, sigma, a).reshape(x.shape).to(torch.float64)
    slope = (x - denoised) / sigma
    x_next = (x + (sigma_next - sigma) * slope).to(torch.float32)
    if correct:
        denoised = model.denoise(x_next, sigma_next, a).reshape(x.shape).to(torch.float64)
        slope_next = (x_next - denoised) / sigma_next
        x_next = (x + (sigma_next - sigma) * (0.5 * slope + 0.5 * slope_next)).to(torch.float32)
    return x_next
