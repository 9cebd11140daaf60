"""adamw: the switch, the launches, the registration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffsda.kernels import first_use
from diffsda.kernels.adamw import nvidia_apex, reference
from diffsda.kernels.adamw.reference import Number
from diffsda.kernels.adamw.table import table
from diffsda.kernels.backend import resolve
from diffsda.kernels.launch import launch, require

WARPS = 8
READ, BLOCK = 2048, 1024
"""Elements at a time in ``squares``, eight a thread, and in ``update``, four a thread."""
SUMS = 1024
"""Partial sums that the one program of ``finish`` adds at a time."""
SCALARS = 8
"""float32 that ``finish`` leaves for ``update``."""


@torch.no_grad()
def adamw(
    params: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    *,
    lr: Number,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: Number,
    clip: float | None = None,
    averages: Sequence[Tensor] | None = None,
    decay: Number | None = None,
    copies: Sequence[Tensor] | None = None,
) -> Tensor:
    """Clip by the global norm, update by AdamW, move the averages, copy; return the norm before clipping.

    With c = min(1, clip / (norm + 1e-6)) and g' = c g: m <- lerp(m, g', 1 - beta1), v <- lerp(v, g'^2, 1 - beta2),
    p <- (1 - lr weight_decay) p - lr m_hat / (sqrt(v_hat) + eps), average <- lerp(average, p, 1 - decay), copy <- p.
    Weights without a gradient (None) are left as they are; their averages and copies follow all the same.
    ``step`` is this update's number, from 1. ``lr``, ``step`` and ``decay`` may be 0-d tensors on the device: a
    captured graph sees their new values. What the gradients hold afterwards is not specified (``torch`` and ``apex``
    clip them in place).

    Shapes: lists as long as params, tensor by tensor of the same shape; all but grads with the same strides.
    Precision: params, moments and averages float32 (float64 with ``torch``), grads and copies each in one of
    float32, bfloat16 and float16; computed in float32. The norm is a float32 scalar on the device; nothing waits
    for it. Autocast changes nothing.
    Cost: 38 bytes a parameter with float32 gradients, averages and bfloat16 copies; gradients are read once more.
    Source: Loshchilov and Hutter 2019, Algorithm 2, as in torch.optim.AdamW; torch.nn.utils.clip_grad_norm_.
    Raises: InputError for lists that do not go together or numbers out of range; MissingPackage or BackendError
    where an asked-for backend cannot run.
    """
    states = {"exp_avgs": exp_avgs, "exp_avg_sqs": exp_avg_sqs, "averages": averages, "copies": copies}
    reference.check(
        params,
        grads,
        states,
        {"lr": lr, "step": step, "decay": decay},
        betas=betas,
        eps=eps,
        weight_decay=weight_decay,
        clip=clip,
    )
    with_grad = [i for i, g in enumerate(grads) if g is not None]
    lists = [_some(values, with_grad) for values in (params, exp_avgs, exp_avg_sqs, averages, copies)]
    held = reference.laid_out([g for g in grads if g is not None], lists[0])
    norm = _updated(lists, held, lr, betas, eps, weight_decay, step, clip, decay) if held else None
    if len(held) < len(params):
        without = [i for i, g in enumerate(grads) if g is None]
        reference.follow(_some(params, without), _some(averages, without), decay, _some(copies, without))
    return torch.zeros((), device=params[0].device) if norm is None else norm


def _updated(
    lists: list[list[Tensor]],
    held: list[Tensor],
    lr: Number,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: Number,
    clip: float | None,
    decay: Number | None,
) -> Tensor:
    """Update weights that all have a gradient, by whatever the switch says."""
    p, m, v, a, c = lists
    which = resolve("adamw", p[0].device)
    if which == "compare":
        which = "triton" if p[0].dtype == torch.float32 and _agrees(lists, held, clip) else "torch"
    if which != "triton":
        plain = nvidia_apex.adamw if which == "apex" else reference.adamw
        return plain(
            p,
            held,
            m,
            v,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            step=step,
            clip=clip,
            averages=a,
            decay=decay,
            copies=c,
        )
    for t in (p[0], held[0], *c[:1]):
        require("adamw", t)
    return torch.ops.diffsda.adamw(
        p,
        held,
        m,
        v,
        a,
        c,
        *_split(lr),
        *_split(step),
        # 1 - decay is worked out in float64 where it can be: in float32 little is left of 1 - 0.9999.
        *((0.0, decay) if isinstance(decay, Tensor) else (1.0 - (1.0 if decay is None else decay), None)),
        *betas,
        eps,
        weight_decay,
        clip,
    )


def step_once(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    averages: Sequence[Tensor],
    copies: Sequence[Tensor],
    lr: float,
    lr_at: Tensor | None,
    step: float,
    step_at: Tensor | None,
    weight: float,
    decay_at: Tensor | None,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    clip: float | None,
) -> Tensor:
    """Launch sums, settings and update; ``weight`` is 1 - decay, and a tensor goes before its number."""
    from diffsda.kernels.adamw import fused

    device = params[0].device
    made = table([params, grads, exp_avgs, exp_avg_sqs, averages, copies])
    where = {"chunks": made.chunks, "pointers": made.pointers}
    count = made.chunks.shape[0]
    partials = torch.empty(count, dtype=torch.float32, device=device)
    scalars = torch.empty(SCALARS, dtype=torch.float32, device=device)
    norm = torch.empty((), dtype=torch.float32, device=device)
    gradient = fused.TYPES[grads[0].dtype]
    betas = {"BETA1": beta1, "BETA2": beta2}
    launch(fused.squares, (count,), {**where, "partials": partials}, {"GRAD": gradient, "BLOCK": READ}, warps=WARPS)
    launch(
        fused.finish,
        (1,),
        {
            "partials": partials,
            "count": count,
            "norm": norm,
            "scalars": scalars,
            "lr": lr,
            "lr_at": lr_at,
            "step": step,
            "step_at": step_at,
            "weight": weight,
            "decay_at": decay_at,
            "clip": clip,
            "weight_decay": weight_decay,
        },
        {
            **betas,
            "CLIP": clip is not None,
            **{"LR_AT": lr_at is not None, "STEP_AT": step_at is not None, "DECAY_AT": decay_at is not None},
            "BLOCK": SUMS,
        },
        warps=WARPS,
    )
    launch(
        fused.update,
        (count,),
        {**where, "scalars": scalars, "eps": eps},
        {
            **betas,
            "GRAD": gradient,
            "COPY": fused.TYPES[copies[0].dtype if copies else torch.float32],
            **{"AVERAGED": bool(averages), "COPIED": bool(copies), "BLOCK": BLOCK},
        },
        warps=WARPS,
    )
    return norm


def _some(values: Sequence[Tensor] | None, indices: list[int]) -> list[Tensor]:
    return [] if values is None else [values[i] for i in indices]


def _split(number: Number) -> tuple[float, Tensor | None]:
    """Return a number and no tensor, or a tensor and any number."""
    return (0.0, number) if isinstance(number, Tensor) else (float(number), None)


def _agrees(lists: list[list[Tensor]], grads: list[Tensor], clip: float | None) -> bool:
    """Compare on made-up weights of awkward sizes: those being trained are too many to hold twice."""
    averages, copies = lists[3], lists[4]
    device, kind = grads[0].device, grads[0].dtype
    copied = copies[0].dtype if copies else None
    sizes = (1, 7, 1025, 5 * BLOCK + 16)

    def wave(pitch: float) -> list[Tensor]:
        return [torch.arange(n, device=device, dtype=torch.float32).mul_(pitch).add_(n).sin_() for n in sizes]

    inputs = [*wave(0.37), *(g.to(kind).float() for g in wave(0.11)), *wave(0.23), *(t**2 for t in wave(0.19))]

    def run(ours: bool, tensors: tuple[Tensor, ...]) -> Tensor:
        n = len(sizes)
        p, g, m, v = (list(tensors[i : i + n]) for i in range(0, 4 * n, n))
        a = [t.clone() for t in m] if averages else []
        c = [] if copied is None else [torch.empty_like(t, dtype=copied) for t in p]
        if ours:
            numbers = (0.1, None, 3.0, None, 0.25, None, 0.9, 0.99, 1e-8, 0.1, clip)
            norm = step_once(p, [t.to(kind) for t in g], m, v, a, c, *numbers)
        else:
            betas = (0.9, 0.99)
            norm = reference.adamw(
                p, g, m, v, lr=0.1, betas=betas, eps=1e-8, weight_decay=0.1, step=3, clip=clip,
                averages=a, decay=0.75, copies=c,
            )  # fmt: skip
        # Copies may round to either side: what counts is that they are copies.
        copies_off = [((t.float() - q).abs() - q.abs() * torch.finfo(t.dtype).eps).relu() for t, q in zip(c, p)]
        return torch.cat([t.flatten() for t in (*p, *m, *v, *a, *copies_off, norm / 100)])

    key = (kind, copied, bool(averages), clip is not None)
    return first_use.agrees(
        "adamw",
        key,
        lambda *tensors: run(True, tensors),
        lambda *tensors: run(False, tensors),
        inputs,
        gradients=False,
    )


_op = torch.library.custom_op(
    "diffsda::adamw", step_once, mutates_args=("params", "exp_avgs", "exp_avg_sqs", "averages", "copies")
)
_op.register_fake(lambda params, *_: params[0].new_empty(()))
