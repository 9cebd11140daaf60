"""From shapes and strides to launches of the attention kernels; runs on meta tensors too."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.kernels.attention.plan import plan
from diffsda.kernels.launch import launch

_FAR = 2**31


def along_channels(x: Tensor) -> bool:
    """Say whether x (N, L, C) is read along its channels; otherwise along its tokens, which then have unit stride."""
    return x.shape[2] == 1 or x.stride(2) == 1 or not (x.shape[1] == 1 or x.stride(1) == 1)


def like(x: Tensor) -> Tensor:
    """Return an empty tensor shaped like x (N, L, C), dense along the axis that x is read along."""
    n, tokens, channels = x.shape
    if along_channels(x):
        return x.new_empty(n, tokens, channels)
    return x.new_empty(n, channels, tokens).transpose(1, 2)


def forward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return the result, laid out as q, and the log-sum-exp (N, L)."""
    from diffsda.kernels.attention import fused_forward

    n, tokens, channels = q.shape
    o = like(q)
    lse = q.new_empty(n, tokens, dtype=torch.float32)
    cut = plan(tokens, channels, q.element_size(), backward=False)
    arguments = {"q": _readable(q), "k": _readable(k), "v": _readable(v), "o": o, "lse": lse}
    launch(
        fused_forward.attention_forward,
        (n, cut.blocks(tokens)),
        {**arguments, **_strides(arguments, "q", "k", "v", "o"), "scale": channels**-0.5},
        {
            "L": tokens,
            "C": channels,
            **_directions(arguments, "q", "k", "v", "o"),
            "ROWS": cut.rows,
            "KEYS": cut.others,
            "CHUNK": cut.chunk,
            "EXACT": cut.exact(tokens, channels),
        },
        warps=cut.warps,
        stages=cut.stages,
    )
    return o, lse


def backward(do: Tensor, q: Tensor, k: Tensor, v: Tensor, lse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return dq, dk and dv, each laid out as what it is the gradient of."""
    from diffsda.kernels.attention import fused_backward

    n, tokens, channels = q.shape
    dq, dk, dv = gradients_like(q, k, v)
    cut = plan(tokens, channels, q.element_size(), backward=True)
    whole = cut.rows >= tokens
    inputs = {name: _readable(t, backward=True) for name, t in (("q", q), ("k", k), ("v", v), ("do", do))}
    # Where one program does it all, delta never leaves it.
    delta = lse if whole else torch.empty_like(lse)
    strides = {**_strides(inputs, "q", "k", "v", "do"), "d_sample": tokens * channels}
    outputs = {name: _stride(t) for name, t in (("dq_stride", dq), ("dk_stride", dk), ("dv_stride", dv))}
    constants = {
        "L": tokens,
        "C": channels,
        **_directions(inputs, "q", "k", "v", "do"),
        "ROWS": cut.rows,
        "OTHERS": cut.others,
        "CHUNK": cut.chunk,
        "EXACT": cut.exact(tokens, channels),
    }
    launch(
        fused_backward.attention_backward_queries,
        (n, cut.blocks(tokens)),
        {
            **inputs,
            **{"lse": lse, "delta": delta, "dq": dq, "dk": dk, "dv": dv},
            **strides,
            **outputs,
            "scale": channels**-0.5,
        },
        {**constants, "WHOLE": whole},
        warps=cut.warps,
        stages=cut.stages,
    )
    if not whole:
        del outputs["dq_stride"]
        launch(
            fused_backward.attention_backward_keys,
            (n, cut.blocks(tokens)),
            {
                **inputs,
                **{"lse": lse, "delta": delta, "dk": dk, "dv": dv},
                **strides,
                **outputs,
                "scale": channels**-0.5,
            },
            constants,
            warps=cut.warps,
            stages=cut.stages,
        )
    return dq, dk, dv


def gradients_like(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return empty dq, dk and dv, each laid out as what it is the gradient of is read."""
    dq, dk, dv = (t.new_empty(t.shape) if _copied(t, backward=True) else like(t) for t in (q, k, v))
    return dq, dk, dv


def _readable(x: Tensor, *, backward: bool = False) -> Tensor:
    return x.contiguous() if _copied(x, backward=backward) else x


def _copied(x: Tensor, *, backward: bool) -> bool:
    """Say whether x is read from a copy along its channels.

    That is so where neither axis has a unit stride or offsets within a sample leave 32 bits, and for long float32
    samples in the backward pass: their tiles along the tokens would spill registers.
    """
    _, tokens, channels = x.shape
    unit = channels == 1 or x.stride(2) == 1 or tokens == 1 or x.stride(1) == 1
    far = tokens * x.stride(1) >= _FAR or channels * x.stride(2) >= _FAR
    return far or not unit or (backward and x.dtype == torch.float32 and tokens > 64)


def _stride(x: Tensor) -> int:
    return x.stride(1) if along_channels(x) else x.stride(2)


def _strides(tensors: dict[str, Tensor], *names: str) -> dict[str, int]:
    """Return, by argument name, the step to the next sample and along the axis that is not contiguous."""
    found: dict[str, int] = {}
    for name in names:
        found[f"{name}_sample"] = tensors[name].stride(0)
        found[f"{name}_stride"] = _stride(tensors[name])
    return found


def _directions(tensors: dict[str, Tensor], *names: str) -> dict[str, bool]:
    return {f"{name.upper()}_ALONG_C": along_channels(tensors[name]) for name in names}
