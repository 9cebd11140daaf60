"""attention behind the switch: the public function and the registered operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.kernels import first_use
from diffsda.kernels.arguments import tensors
from diffsda.kernels.attention import launches, memory_efficient, reference
from diffsda.kernels.attention.plan import LONGEST
from diffsda.kernels.backend import chosen, resolve
from diffsda.kernels.launch import FLOATS, require_products


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with a single head: softmax(q k^T / sqrt(C)) v.

    Shapes: q, k, v, result (N, L, C), with L pixels: at most 256 for our kernel. They may be views of one product;
    our kernel reads them where channels or pixels are contiguous (the former as channels_last activations have it,
    the latter as NCHW ones) and copies anything else. Both are fast where the contiguous axis, the stride of the
    other and the start are multiples of 16 bytes; in float32 backward, more than 64 pixels are copied unless their
    channels are contiguous.
    Precision: our kernel multiplies in the inputs' dtype (float32 without TF32) and sums in float32; softmax in
    float32; the result has q's dtype, under autocast too, where the reference turns to the lower precision.
    Cost: q, k, v read and the result written once; nothing of size L x L leaves the chip.
    Source: the authors' attention block.
    Raises: InputError for tensors that do not go together or that the chosen backend cannot take; BackendError,
    MissingPackage where a backend asked for cannot run.
    """
    tensors("attention", q=q, k=k, v=v)
    which = resolve("attention", q.device)
    if chosen("attention") == "auto" and which != "torch":
        # Only auto chooses for itself: what our kernel does not take goes to the reference.
        reference.check(q, k, v)
        which = which if _takes(q) and (which == "triton" or _agrees(q, k, v)) else "torch"
        which = "triton" if which == "compare" else which
    if which == "torch":
        return reference.attention(q, k, v)
    reference.check(q, k, v)
    if which == "xformers":
        return memory_efficient.attention(q, k, v)
    return _fused(q, k, v)


def _takes(q: Tensor) -> bool:
    return q.dtype in FLOATS and 0 < q.shape[1] <= LONGEST and q.shape[0] > 0 and _reachable(q)


def _reachable(q: Tensor) -> bool:
    """Say whether offsets within a sample fit 32 bits once it is dense, and samples fit a grid."""
    return q.shape[1] * q.shape[2] < 2**31 and q.shape[0] < 2**31


def _agrees(q: Tensor, k: Tensor, v: Tensor) -> bool:
    layout = tuple(launches.along_channels(t) for t in (q, k, v))
    key = (q.dtype, q.shape[1], q.shape[2], layout)
    return first_use.agrees("attention", key, _fused, reference.attention, (q, k, v))


def _fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Run our kernel, or say why it cannot."""
    if not torch.compiler.is_compiling():  # The operation asks again when it runs.
        require_products("attention", q)
    if q.shape[1] > LONGEST:
        raise InputError(
            f"attention: got {q.shape[1]} tokens, expected at most {LONGEST} for backend 'triton'; "
            "backend('torch') takes more"
        )
    if not _reachable(q):
        raise InputError(f"attention: got {tuple(q.shape)}, expected N < 2**31 and L C < 2**31 for backend 'triton'")
    o: Tensor = torch.ops.diffsda.attention(q, k, v)[0]
    return o


@torch.library.custom_op("diffsda::attention", mutates_args=())
def _forward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    require_products("attention", q)
    return launches.forward(q, k, v)


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return launches.like(q), q.new_empty(q.shape[:2], dtype=torch.float32)


@torch.library.custom_op("diffsda::attention_backward", mutates_args=())
def _backward(do: Tensor, q: Tensor, k: Tensor, v: Tensor, lse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return launches.backward(do, q, k, v, lse)


@_backward.register_fake
def _(do: Tensor, q: Tensor, k: Tensor, v: Tensor, lse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return launches.gradients_like(q, k, v)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, do: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if do is None:
        return None, None, None
    return tuple(torch.ops.diffsda.attention_backward(do, *ctx.saved_tensors))


_forward.register_autograd(_gradients, setup_context=_save)
