"""The form a network is prepared in: its type, layout, and which rewritings pay on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffsda.inference.execution import Execution


@dataclass(frozen=True)
class Form:
    """How a U-Net is rewritten. Every rewriting is exact but for the order of sums.

    ``defer``: a convolution's bias is not added by a pass of its own but handed on, as a constant a channel, to
    the norm or the residual sum that reads the result. ``two_source``: norms read the up path's two inputs where
    they are and the shortcut is two products, so that nothing is concatenated. ``products``: 1x1 convolutions are
    matrix products that add onto the residual. ``subpixel``: doubling and convolution are one small convolution.
    ``buffers``: vector networks work in memory that is kept (the CPU, eagerly).
    """

    dtype: torch.dtype
    channels_last: bool
    defer: bool
    two_source: bool
    products: bool
    subpixel: bool
    buffers: bool

    @classmethod
    def of(cls, execution: Execution, like: Tensor) -> Form:
        """Return the form for a resolved execution of a model whose clips are as ``like``.

        On the CPU oneDNN adds biases inside its convolutions and joins cheaply in cache, so only what is measured
        to pay there is on.
        """
        cuda, last = like.device.type == "cuda", execution.layout == "channels_last"
        dtype = torch.float64 if like.dtype == torch.float64 else execution.dtype
        return cls(
            dtype=dtype,
            channels_last=last,
            defer=cuda,
            two_source=cuda,
            products=last,
            subpixel=True,
            buffers=not cuda and execution.route == "eager" and dtype in (torch.float32, torch.float64),
        )

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of activations and of convolutions' weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


class Conv(nn.Module):
    """A convolution's weights in their form; ``offset`` is the bias where that is left to whoever reads the result.

    Shapes: x (N, C, H, W) -> (N, C', H', W'); offset (C',) float32 or None.
    """

    weight: Tensor
    bias: Tensor | None
    offset: Tensor | None

    def __init__(self, conv: nn.Conv2d, form: Form, *, defer: bool | None = None) -> None:
        super().__init__()
        self.stride, self.padding = conv.stride, conv.padding
        weight = conv.weight.detach().to(form.dtype, copy=True)
        self.register_buffer("weight", weight.contiguous(memory_format=form.memory_format))
        deferred = form.defer if defer is None else defer
        bias = None if conv.bias is None else conv.bias.detach()
        self.register_buffer("bias", None if deferred or bias is None else bias.to(form.dtype, copy=True))
        self.register_buffer("offset", wide(bias) if deferred and bias is not None else None)

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)


def wide(t: Tensor) -> Tensor:
    """Return a copy that is at least float32."""
    return t.detach().to(torch.promote_types(t.dtype, torch.float32), copy=True)


def total(*offsets: Tensor | None) -> Tensor | None:
    """Return the sum of those offsets that there are, or None."""
    found = [o for o in offsets if o is not None]
    return torch.stack(found).sum(0) if found else None


def joined(first: Tensor | None, second: Tensor | None, channels: tuple[int, int]) -> Tensor | None:
    """Return the offset of two inputs side by side, or None if neither has one. Shapes: (C,), (C',) -> (C + C',)."""
    known = first if first is not None else second
    if known is None:
        return None
    parts = [known.new_zeros(n) if o is None else o for o, n in zip((first, second), channels)]
    return torch.cat(parts)
