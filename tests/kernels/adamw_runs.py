"""Runs of a hundred steps that tests of adamw compare: by its own call, and by torch's three calls."""

from __future__ import annotations

import torch
from torch import nn

from diffsda import kernels

# One element, less than a vector, around a block, a matrix, one of another memory format.
SHAPES = ((1,), (7,), (1023,), (1025,), (3, 17), (4, 3, 5, 5))
SETTINGS = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
DECAY = 0.97


def start(shapes=SHAPES, dtype=torch.float32):
    """Return weights, the same every time."""
    draw = torch.Generator().manual_seed(1)
    params = [torch.randn(shape, generator=draw).to(dtype) for shape in shapes]
    return [p.to(memory_format=torch.channels_last) if p.ndim == 4 else p for p in params]


def gradients(step, shapes=SHAPES, dtype=torch.float32):
    """Return a step's gradients, whose norm goes up and down."""
    draw = torch.Generator().manual_seed(100 + step)
    size = 0.002 if step % 3 == 0 else 0.05
    return [(size * torch.randn(shape, generator=draw)).to(dtype) for shape in shapes]


def rate(step):
    """Return a learning rate that moves."""
    return 1e-2 / (1 + step / 50)


def by_adamw(
    steps, *, clip, averaged=True, numbers=float, dtype=torch.float32, grads=torch.float32, shapes=SHAPES, device="cpu"
):
    """Run our call; ``numbers`` float or torch.tensor for lr, step and decay. Return all lists and the norms."""
    params = [p.to(device) for p in start(shapes, dtype)]
    exp_avgs, exp_avg_sqs = [torch.zeros_like(p) for p in params], [torch.zeros_like(p) for p in params]
    averages = [p.clone() for p in params] if averaged else None
    copies = [torch.full_like(p, torch.nan, dtype=torch.bfloat16) for p in params] if averaged else None
    held = [torch.zeros((), device=device) for _ in range(3)]
    norms = []
    for i in range(steps):
        now = (rate(i), i + 1, DECAY)
        if numbers is not float:
            # The same tensors throughout, as in a captured graph.
            now = [t.fill_(v) for t, v in zip(held, now)]
        lr, step, decay = now
        g = [t.to(device) for t in gradients(i, shapes, grads)]
        more = {"averages": averages, "decay": decay, "copies": copies} if averaged else {}
        norms.append(kernels.adamw(params, g, exp_avgs, exp_avg_sqs, lr=lr, step=step, clip=clip, **SETTINGS, **more))
    return {
        "params": params,
        "exp_avgs": exp_avgs,
        "exp_avg_sqs": exp_avg_sqs,
        "averages": averages or [],
        "copies": copies or [],
        "norms": norms,
    }


def by_torch(steps, *, clip, dtype, averaged=True, grads=torch.float32, shapes=SHAPES, **options):
    """Run clip_grad_norm_, torch.optim.AdamW and lerp, with gradients rounded to ``grads`` first."""
    params = [nn.Parameter(p) for p in start(shapes, dtype)]
    optimizer = torch.optim.AdamW(params, lr=1.0, **SETTINGS, **options)
    averages = [p.detach().clone() for p in params]
    norms = []
    for i in range(steps):
        optimizer.param_groups[0]["lr"] = rate(i)
        for p, g in zip(params, gradients(i, shapes, grads)):
            p.grad = torch.empty_like(p).copy_(g)
        norms.append(nn.utils.clip_grad_norm_(params, float("inf") if clip is None else clip))
        optimizer.step()
        torch._foreach_lerp_(averages, [p.detach() for p in params], 1 - DECAY)
    return {
        "params": [p.detach() for p in params],
        "exp_avgs": [optimizer.state[p]["exp_avg"] for p in params],
        "exp_avg_sqs": [optimizer.state[p]["exp_avg_sq"] for p in params],
        "averages": averages if averaged else [],
        "copies": [p.detach().to(torch.bfloat16) for p in params] if averaged else [],
        "norms": norms,
    }


def error(given, wanted):
    """Return the relative error of a list of tensors in the Euclidean norm."""
    pairs = [(a.double().cpu(), b.double().cpu()) for a, b in zip(given, wanted, strict=True)]
    far = sum(float((a - b).square().sum()) for a, b in pairs)
    return (far / max(sum(float(b.square().sum()) for _, b in pairs), 1e-300)) ** 0.5
