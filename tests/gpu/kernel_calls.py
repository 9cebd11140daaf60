"""Calls of the differentiable operations, ours and the reference on the same inputs, for any device and dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from diffsda.kernels import attention, backend, film_layer_norm, group_norm
from diffsda.kernels.edm_loss import edm_loss
from diffsda.kernels.precondition import precondition

# Relative errors, in the Euclidean norm, that rounding the result once already makes, times about two.
FLOOR = {torch.float32: 2e-6, torch.bfloat16: 6e-3, torch.float16: 8e-4}


@dataclass
class Call:
    """An operation with its inputs; ``fixed`` ones get no gradient."""

    function: Callable[..., torch.Tensor]
    inputs: list[torch.Tensor]
    fixed: dict[str, Any]

    def run(self, which: str, dtype: torch.dtype | None = None, gradients: bool = True) -> list[torch.Tensor]:
        """Return the result and every gradient by a backend, the inputs cast to ``dtype`` if given."""
        kind = dtype or self.inputs[0].dtype
        leaves = [t.detach().to(dtype or t.dtype).requires_grad_(gradients) for t in self.inputs]
        fixed = {
            k: v.to(kind) if dtype and torch.is_tensor(v) and v.is_floating_point() else v
            for k, v in self.fixed.items()
        }
        with backend(which), torch.set_grad_enabled(gradients):
            y = self.function(*leaves, **fixed)
        if not gradients:
            return [y]
        dy = torch.linspace(-1, 1, y.numel(), device=y.device, dtype=torch.float64).mul(7).sin().reshape(y.shape)
        return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(y.dtype))]


def _rand(device, *shape, seed=0):
    draw = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=draw).to(device)


def _group_norm(device, dtype, n, c, h, w, *, skip=0, groups=32, last=True, modulated=True):
    layout = torch.channels_last if last else torch.contiguous_format
    x = _rand(device, n, c - skip, h, w).to(dtype).contiguous(memory_format=layout)
    inputs = [x, _rand(device, c, seed=1), _rand(device, c, seed=2)]
    names = []
    if modulated:
        inputs += [_rand(device, n, c, seed=3) + 1, _rand(device, n, c, seed=4)]
        names += ["scale", "shift"]
    if skip:
        inputs.append(_rand(device, n, skip, h, w, seed=5).to(dtype).contiguous(memory_format=layout))
        names.append("skip")

    def call(x, weight, bias, *rest, **fixed):
        return group_norm(x, weight, bias, groups=groups, **dict(zip(names, rest)), **fixed)

    return Call(call, inputs, {})


def _film(device, dtype, rows, width, *, modulated=True):
    inputs = [_rand(device, rows, width).to(dtype), _rand(device, width, seed=1), _rand(device, width, seed=2)]
    if modulated:
        inputs += [_rand(device, rows, width, seed=3), _rand(device, rows, width, seed=4)]

    def call(x, weight, bias, scale=None, shift=None, **fixed):
        return film_layer_norm(x, weight, bias, scale=scale, shift=shift, **fixed)

    return Call(call, inputs, {})


def _attention(device, dtype, n, tokens, channels):
    qkv = _rand(device, n, tokens, 3 * channels).to(dtype)
    return Call(lambda q, k, v: attention(q, k, v), [t.contiguous() for t in qkv.chunk(3, dim=-1)], {})


def _precondition(device, dtype, *shape, last=False):
    sigma = _rand(device, shape[0], seed=2).exp()

    def call(clean, noise, sigma):
        # In the reference's float64 run the result stays in float64.
        return precondition(clean, noise, sigma, dtype=clean.dtype, channels_last=last)

    return Call(call, [_rand(device, *shape).to(dtype), _rand(device, *shape, seed=1).to(dtype)], {"sigma": sigma})


def _edm_loss(device, dtype, *shape, masked=False, padded=False):
    fixed: dict[str, Any] = {
        "clean": _rand(device, *shape, seed=1),
        "noise": _rand(device, *shape, seed=2),
        "sigma": _rand(device, shape[0], seed=3).exp(),
    }
    if masked:
        fixed["mask"] = _rand(device, *shape, seed=4) > 0.5
    if padded:
        fixed["real"] = torch.arange(shape[0], device=device) % 3 > 0
    f = _rand(device, *shape).to(dtype)
    return Call(edm_loss, [f.contiguous(memory_format=torch.channels_last) if f.ndim == 4 else f], fixed)


CALLS: dict[str, Callable[..., Call]] = {
    "group_norm latent frames": partial(_group_norm, n=16, c=192, h=32, w=32),
    "group_norm six channels a group, few pixels": partial(_group_norm, n=160, c=192, h=4, w=4),
    "group_norm wide, split over programs": partial(_group_norm, n=1, c=768, h=32, w=32),
    "group_norm odd pixels": partial(_group_norm, n=3, c=64, h=17, w=13),
    "group_norm nchw": partial(_group_norm, n=8, c=128, h=16, w=16, last=False),
    "group_norm two sources": partial(_group_norm, n=4, c=576, h=16, w=16, skip=192),
    "group_norm plain": partial(_group_norm, n=4, c=256, h=8, w=8, modulated=False),
    "film_layer_norm audio rows": partial(_film, rows=1280, width=1024),
    "film_layer_norm odd rows": partial(_film, rows=37, width=251),
    "film_layer_norm plain": partial(_film, rows=640, width=512, modulated=False),
    "attention 64 pixels": partial(_attention, n=160, tokens=64, channels=384),
    "attention 16 pixels": partial(_attention, n=160, tokens=16, channels=384),
    "attention 256 pixels": partial(_attention, n=20, tokens=256, channels=128),
    "attention odd": partial(_attention, n=3, tokens=35, channels=40),
    "edm_loss frames": lambda device, dtype: _edm_loss(device, dtype, 160, 4, 32, 32),
    "edm_loss masked and padded rows": lambda device, dtype: _edm_loss(device, dtype, 96, 35, masked=True, padded=True),
    "precondition frames": lambda device, dtype: _precondition(device, dtype, 160, 4, 32, 32),
    "precondition into channels_last": lambda device, dtype: _precondition(device, dtype, 160, 3, 64, 64, last=True),
}
"""By name, what makes a call for a device and a dtype."""


def relative(got: torch.Tensor, exact: torch.Tensor) -> float:
    """Return the relative error in the Euclidean norm; what is not finite is infinitely wrong."""
    error = float((got.double() - exact.double()).norm() / exact.double().norm().clamp_min(1e-30))
    return error if error == error else float("inf")


def compare(call: Call, dtype: torch.dtype) -> None:
    """Assert that ours errs at most twice as much as the reference of the same dtype, and a rounding."""
    exact = call.run("torch", torch.float64)
    # torch's own norms take no mixture of types on CUDA: for the reference everything is cast.
    theirs, ours = call.run("torch", dtype), call.run("triton")
    assert len(ours) == len(exact)
    for i, (got, same, wanted) in enumerate(zip(ours, theirs, exact)):
        allowed = 2 * relative(same, wanted) + FLOOR[dtype]
        assert got.shape == wanted.shape
        assert relative(got, wanted) <= allowed, (
            f"{'value' if i == 0 else f'gradient {i}'} off by {relative(got, wanted):.1e}"
        )
