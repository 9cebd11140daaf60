"""From tensors to kernel launches: forward and backward of group_norm on any layout.

Everything here looks at shapes and strides only, so it works on meta tensors too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.kernels.dropout import kept_scale, threshold
from diffsda.kernels.group_norm.plan import WIDEST, Plan, Slab, plan, shared_slab
from diffsda.kernels.launch import Argument, cut_for, launch, power_of_two, processors, shared_memory

Forward = tuple[Tensor, Tensor, Tensor, Tensor]
Backward = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def is_last(x: Tensor) -> bool:
    """Whether x counts as channels_last; anything but a dense NCHW tensor is made so."""
    return x.is_contiguous(memory_format=torch.channels_last) or not x.is_contiguous()


def dense(x: Tensor, last: bool) -> Tensor:
    """Return x in the layout."""
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def empty(x: Tensor, channels: int, last: bool) -> Tensor:
    """Return room for a result of so many channels in x's layout."""
    shape = (x.shape[0], channels, *x.shape[2:])
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def empty_used(dropout: float, device: torch.device) -> Tensor:
    """Return room for the (seed, offset) that dropout used; none without dropout."""
    return torch.empty(2 if threshold(dropout) else 0, dtype=torch.int64, device=device)


def is_split(x: Tensor, channels: int, groups: int) -> bool:
    """Whether programs share a slab's pixels, forward or backward."""
    sizes = (x.shape[0], channels, groups, x.shape[2] * x.shape[3])
    last, fill, item = is_last(x), processors(x.device), x.element_size()
    return any(plan(*sizes, last=last, backward=b, processors=fill, item=item).splits > 1 for b in (False, True))


def check_range(x: Tensor, channels: int, groups: int) -> None:
    """Refuse what the kernels cannot index.

    Raises: InputError.
    """
    pixels = x.shape[2] * x.shape[3]
    if channels * pixels >= 2**31:
        raise InputError(f"group_norm: got {channels} x {pixels} values a sample, expected fewer than 2^31")
    if channels // groups > WIDEST:
        raise InputError(f"group_norm: got {channels // groups} channels a group, expected at most {WIDEST}")
    if x.shape[0] * groups >= 2**31:
        raise InputError(f"group_norm: got {x.shape[0]} samples of {groups} groups, expected fewer than 2^31 groups")


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
    eps: float,
    dropout: float,
    skip: Tensor | None,
    state: Tensor | None,
    site: int,
    shared: bool,
    offset: Tensor | None = None,
) -> Forward:
    """Return y, mean (N, G), rstd (N, G) and the (seed, offset) that dropout used.

    ``shared``: large slabs go through shared memory (``gluon_resident``) where one fits. ``offset`` (C,) is added to
    every channel of x and skip first.
    """
    from diffsda.kernels.group_norm import fused_forward

    last = is_last(x)
    x, skip = dense(x, last), None if skip is None else dense(skip, last)
    second = 0 if skip is None else skip.shape[1]
    channels, pixels = x.shape[1] + second, x.shape[2] * x.shape[3]
    y = empty(x, channels, last)
    mean = torch.empty((x.shape[0], groups), dtype=torch.float32, device=x.device)
    rstd = torch.empty_like(mean)
    used = empty_used(dropout, x.device)
    if y.numel() == 0:
        return y, mean.fill_(0.0), rstd.fill_(0.0), used.fill_(0)
    cut = plan(
        x.shape[0],
        channels,
        groups,
        pixels,
        last=last,
        backward=False,
        processors=processors(x.device),
        item=x.element_size(),
    )
    scale, shift = _rows(scale), _rows(shift)
    offset = None if offset is None else offset.contiguous()
    if shared and last and skip is None and not threshold(dropout) and not cut.resident:
        slab = shared_slab(channels, groups, pixels, x.element_size(), shared_memory(x.device))
        if slab is not None and x.shape[0] * (channels // slab.channels) >= processors(x.device):
            _through_shared_memory(x, weight, bias, scale, shift, y, mean, rstd, pixels, act, eps, slab, offset)
            return y, mean, rstd, used
    arguments: dict[str, Argument] = {
        "x": x, "skip": skip, "offset": offset, "weight": weight.contiguous(), "bias": bias.contiguous(),
        "scale": scale, "shift": shift, "y": y, "mean": mean, "rstd": rstd, "state": state,
        "used": used, "site": site, "scale_row": _row(scale), "shift_row": _row(shift),
        "P": pixels, "eps": eps,
    }  # fmt: skip
    shape = _shape(cut, x.shape[1], second, channels // groups, last)
    shape["OFFSET"] = offset is not None
    after = {"MODULATED": scale is not None, "SILU": act == "silu", **_dropping(dropout)}
    slabs = x.shape[0] * (channels // cut.slab)
    if cut.splits == 1:
        constants = {**shape, **after, "RESIDENT": cut.resident}
        launch(
            fused_forward.normalise,
            (slabs,),
            arguments,
            constants,
            warps=cut.warps,
            registers=cut.registers,
            always=not last,
        )
        return y, mean, rstd, used
    partial = torch.empty((x.shape[0], groups, 2, cut.splits), dtype=torch.float32, device=x.device)
    grid = (slabs, cut.splits)
    launch(
        fused_forward.measure,
        grid,
        {"x": x, "skip": skip, "offset": offset, "partial": partial, "P": pixels, "chunk": cut.chunk},
        {**shape, "SPLITS": cut.splits},
        warps=cut.warps,
        registers=cut.registers,
        always=not last,
    )
    launch(
        fused_forward.apply,
        grid,
        {**arguments, "partial": partial, "chunk": cut.chunk},
        {**shape, **after, "SPLITS": cut.splits, "SB": power_of_two(cut.splits)},
        warps=cut.warps,
        registers=cut.registers,
        always=not last,
    )
    return y, mean, rstd, used


def _through_shared_memory(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    y: Tensor,
    mean: Tensor,
    rstd: Tensor,
    pixels: int,
    act: str,
    eps: float,
    slab: Slab,
    offset: Tensor | None,
) -> None:
    from diffsda.kernels.group_norm import gluon_resident

    channels, groups = x.shape[1], mean.shape[1]
    launch(
        gluon_resident.normalise_resident,
        (x.shape[0] * (channels // slab.channels),),
        {
            "x": x, "offset": offset, "weight": weight.contiguous(), "bias": bias.contiguous(),
            "scale": scale, "shift": shift, "y": y, "mean": mean, "rstd": rstd,
            "scale_row": _row(scale), "shift_row": _row(shift), "P": pixels, "eps": eps,
        },
        {
            "C": channels, "CG": channels // groups, "SLAB": slab.channels, "GB": slab.groups, "W0": slab.first,
            "W1": slab.second, "CHUNK": slab.chunk, "CHUNKS": slab.chunks, "OFFSET": offset is not None,
            "MODULATED": scale is not None, "SILU": act == "silu", "WARPS": slab.warps,
        },
        warps=slab.warps,
    )  # fmt: skip


def backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
    dropout: float,
    skip: Tensor | None,
    state: Tensor,
    site: int,
    mean: Tensor,
    rstd: Tensor,
) -> Backward:
    """Return the gradients of x, skip, weight, bias, scale and shift; what is not there is empty."""
    from diffsda.kernels.group_norm import fused_backward

    last = is_last(x)
    x, skip = dense(x, last), None if skip is None else dense(skip, last)
    dy = dense(dy.to(x.dtype), last)
    second = 0 if skip is None else skip.shape[1]
    channels, pixels, samples = x.shape[1] + second, x.shape[2] * x.shape[3], x.shape[0]
    grads = empty_gradients(x, weight, bias, scale, shift, skip)
    dx, dskip, dweight, dbias, dscale, dshift = grads
    if dy.numel() == 0:
        for grad in grads:
            grad.zero_()
        return grads
    cut = plan(
        samples,
        channels,
        groups,
        pixels,
        last=last,
        backward=True,
        processors=processors(x.device),
        item=x.element_size(),
        # With dropout 16 warps have the registers they need only where tiles were cut for the GPU.
        small=bool(threshold(dropout)) and not cut_for(x.device),
    )
    scale, shift = _rows(scale), _rows(shift)
    sums = torch.empty((2, samples, channels), dtype=torch.float32, device=x.device)
    dropping = _dropping(dropout)
    given: dict[str, Argument] = {
        "x": x, "skip": skip, "dy": dy, "weight": weight.contiguous(), "bias": bias.contiguous(),
        "scale": scale, "shift": shift, "mean": mean, "rstd": rstd,
        "state": state if dropping["THRESHOLD"] else None, "site": site,
        "scale_row": _row(scale), "shift_row": _row(shift), "P": pixels,
    }  # fmt: skip
    made: dict[str, Argument] = {
        "dx": dx, "dskip": None if skip is None else dskip,
        "dscale": None if scale is None else dscale, "dshift": None if scale is None else dshift,
        "sums": sums, "plane": samples * channels,
    }  # fmt: skip
    constants = {
        **_shape(cut, x.shape[1], second, channels // groups, last),
        "MODULATED": scale is not None,
        "SILU": act == "silu",
        **dropping,
    }
    slabs = samples * (channels // cut.slab)
    if cut.splits == 1:
        constants["RESIDENT"] = cut.resident
        launch(
            fused_backward.gradients,
            (slabs,),
            {**given, **made},
            constants,
            warps=cut.warps,
            registers=cut.registers,
            always=not last,
        )
    else:
        partial = torch.empty((samples, cut.splits, 2, channels), dtype=torch.float32, device=x.device)
        parts: dict[str, Argument] = {"partial": partial, "chunk": cut.chunk}
        constants["SPLITS"] = cut.splits
        grid = (slabs, cut.splits)
        launch(
            fused_backward.collect,
            grid,
            {**given, **parts},
            constants,
            warps=cut.warps,
            registers=cut.registers,
            always=not last,
        )
        launch(
            fused_backward.spread,
            grid,
            {**given, **made, **parts},
            constants,
            warps=cut.warps,
            registers=cut.registers,
            always=not last,
        )
    _over_samples(sums, scale, dbias, dweight)
    return grads


def empty_gradients(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, shift: Tensor | None, skip: Tensor | None
) -> Backward:
    """Return room for the gradients, in the types of what they belong to."""
    last = is_last(x)
    nothing = [torch.empty(0, dtype=x.dtype, device=x.device) for _ in range(3)]
    return (
        empty(x, x.shape[1], last),
        nothing[0] if skip is None else empty(skip, skip.shape[1], last),
        torch.empty_like(weight, memory_format=torch.contiguous_format),
        torch.empty_like(bias, memory_format=torch.contiguous_format),
        nothing[1] if scale is None else torch.empty_like(scale, memory_format=torch.contiguous_format),
        nothing[2] if shift is None else torch.empty_like(shift, memory_format=torch.contiguous_format),
    )


def _over_samples(sums: Tensor, scale: Tensor | None, dbias: Tensor, dweight: Tensor) -> None:
    """Add S0 and S1 (2, N, C) over samples into dbias and dweight (C,), by way of parts where there are many."""
    from diffsda.kernels.group_norm import fused_backward

    width, rows = 64, 32
    while True:
        _, samples, channels = sums.shape
        parts = min(128, -(-samples // 256))
        part = -(-samples // (parts * rows)) * rows
        parts = -(-samples // part)
        out = sums.new_empty((2, parts, channels)) if parts > 1 else None
        first, second = (dbias, dweight) if out is None else (out[0], out[1])
        launch(
            fused_backward.over_samples,
            (-(-channels // width), parts),
            {
                "sums": sums, "scale": scale, "first_sum": first, "second_sum": second, "scale_row": _row(scale),
                "rows": samples, "part": part, "plane": samples * channels, "C": channels,
            },
            {"BN": rows, "BC": width, "MODULATED": scale is not None},
            warps=4,
        )  # fmt: skip
        if out is None:
            return
        sums, scale = out, None


def _shape(cut: Plan, first: int, second: int, per_group: int, last: bool) -> dict[str, int | bool]:
    return {
        "C1": first, "C2": second, "CG": per_group, "SLAB": cut.slab, "GB": cut.groups,
        "BP": cut.pixels, "BC": cut.width, "LAST": last,
    }  # fmt: skip


def _dropping(dropout: float) -> dict[str, int | float]:
    return {"THRESHOLD": threshold(dropout), "KEPT": kept_scale(dropout)}


def _rows(modulation: Tensor | None) -> Tensor | None:
    """Return a modulation whose rows are dense; a slice of a wider one is."""
    return None if modulation is None else modulation if modulation.stride(1) == 1 else modulation.contiguous()


def _row(modulation: Tensor | None) -> int:
    return 0 if modulation is None else modulation.stride(0)
