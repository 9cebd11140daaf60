"""A U-Net prepared for inference: weights in their final type and layout, nothing computed twice, few passes.

The residual stream is kept without the biases of the convolutions that made it, where the form says so: those are
constants a channel, known beforehand (``offset``), which norms add on reading and 1x1 convolutions turn into
constants of their own. Only resampling convolutions, whose zero padding would tell, have them added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffsda.inference.form import Conv, Form, joined, total, wide
from diffsda.inference.subpixel import phase_weights, upsample
from diffsda.kernels.attention import attention
from diffsda.kernels.group_norm import group_norm
from diffsda.nn.blocks import AdaGNBlock, Attention, Downsample, EncoderBlock, Norm, Upsample
from diffsda.nn.unet import UNet


class PreparedUNet(nn.Module):
    """What a ``UNet`` computes, without gradients or dropout.

    Shapes: x (N, C, H, W), scale and shift (N, C_block) float32 of each conditioned block -> (N, C', H, W) in x's
    type. x and the result have the form's type and layout.
    """

    def __init__(self, unet: UNet, form: Form) -> None:
        super().__init__()
        self.form = form
        self.head = Conv(unet.head, form)
        now, channels = self.head.offset, unet.head.out_channels
        skips: list[tuple[Tensor | None, int]] = [(now, channels)]
        self.down, self.middle, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        layer: Any
        for layer in unet.down:
            ready: Down | Block | Up
            if isinstance(layer, Downsample):
                ready = Down(layer, form, now)
                skips[-1] = (None, channels)  # What is settled is the skip too.
            else:
                ready = Block(layer, form, now)
                channels = layer.conv1.out_channels
            self.down.append(ready)
            now = ready.offset
            skips.append((now, channels))
        for layer in unet.middle:
            ready = Block(layer, form, now)
            self.middle.append(ready)
            now = ready.offset
        for layer in unet.up:
            if isinstance(layer, Upsample):
                ready = Up(layer, form, now)
            else:
                ready = Block(layer, form, now, (channels, *skips.pop()))
                channels = layer.conv1.out_channels
            self.up.append(ready)
            now = ready.offset
        self.tail_norm = PreparedNorm(unet.tail_norm, now)
        self.tail = Conv(unet.tail, form, defer=False)

    def forward(self, x: Tensor, scales: Sequence[Tensor] = (), shifts: Sequence[Tensor] = ()) -> Tensor:
        modulation = iter(zip(scales, shifts))
        h = self.head(x.contiguous(memory_format=self.form.memory_format))
        skips = [h]
        for layer in self.down:
            h = layer(h, *next(modulation)) if getattr(layer, "conditioned", False) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, *next(modulation)) if layer.conditioned else layer(h)
        for layer in self.up:
            if isinstance(layer, Up):
                h = layer(h)
                continue
            skip = skips.pop()
            if h.shape[2:] != skip.shape[2:]:
                # Odd sizes come back one pixel larger than they went down.
                h = h[:, :, : skip.shape[2], : skip.shape[3]].contiguous(memory_format=self.form.memory_format)
            h = layer(h, *(next(modulation) if layer.conditioned else ()), skip=skip)
        return self.tail(self.tail_norm(h))


class PreparedNorm(nn.Module):
    """A norm with what is to be added to its input first."""

    weight: Tensor
    bias: Tensor
    offset: Tensor | None

    def __init__(self, norm: Norm, offset: Tensor | None) -> None:
        super().__init__()
        self.groups, self.eps, self.act = norm.num_groups, norm.eps, norm.act
        self.register_buffer("weight", wide(norm.weight))
        self.register_buffer("bias", wide(norm.bias))
        self.register_buffer("offset", offset)

    def forward(
        self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None, skip: Tensor | None = None
    ) -> Tensor:
        return group_norm(
            x,
            self.weight,
            self.bias,
            groups=self.groups,
            scale=scale,
            shift=shift,
            act=self.act,
            eps=self.eps,
            skip=skip,
            offset=self.offset,
        )


class Block(nn.Module):
    """A residual block of two convolutions (encoder) or three, the second modulated (denoiser).

    ``before`` is the offset of its input, ``skip`` (channels of h, offset and channels of the skip) on the up path.
    """

    offset: Tensor | None

    def __init__(
        self,
        block: EncoderBlock | AdaGNBlock,
        form: Form,
        before: Tensor | None,
        skip: tuple[int, Tensor | None, int] | None = None,
    ) -> None:
        super().__init__()
        self.conditioned = isinstance(block, AdaGNBlock)
        self.form = form
        if skip is not None:
            before = joined(before, skip[1], (skip[0], skip[2]))
        pairs = [(block.norm1, block.conv1), (block.norm2, block.conv2)]
        if isinstance(block, AdaGNBlock):
            pairs.append((block.norm3, block.conv3))
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        arriving = before
        conv: Any
        for norm, conv in pairs:
            self.norms.append(PreparedNorm(norm, arriving))
            ready = Conv(conv, form)
            self.convs.append(ready)
            arriving = ready.offset
        self.shortcut = None
        if not isinstance(block.shortcut, nn.Identity):
            self.shortcut = Shortcut(block.shortcut, form, before, split=None if skip is None else skip[0])
        self.attention = None
        offset = total(arriving, before if self.shortcut is None else self.shortcut.offset)
        if block.attention is not None:
            self.attention = PreparedAttention(block.attention, form, offset)
            offset = self.attention.offset
        self.register_buffer("offset", offset)

    def forward(
        self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None, skip: Tensor | None = None
    ) -> Tensor:
        if skip is not None and not self.form.two_source:
            x, skip = torch.cat([x, skip], dim=1), None
        h = self.convs[0](self.norms[0](x, skip=skip))
        h = self.convs[1](self.norms[1](h, scale, shift))
        if self.conditioned:
            h = self.convs[2](self.norms[2](h))
        h = h.add_(x) if self.shortcut is None else self.shortcut(h, x, skip)
        return h if self.attention is None else self.attention(h)


class Shortcut(nn.Module):
    """A 1x1 convolution of a block's input, added onto the block's result in place.

    ``before`` is the offset of that input, ``split`` the channels of its first part.
    """

    weight: Tensor
    bias: Tensor | None
    offset: Tensor | None

    def __init__(self, conv: nn.Module, form: Form, before: Tensor | None, split: int | None) -> None:
        super().__init__()
        conv = conv2d(conv)
        assert conv.bias is not None
        self.products, self.split = form.products, split
        weight, bias = conv.weight.detach(), wide(conv.bias)
        flat = weight[:, :, 0, 0]
        through = None if before is None else (flat.double() @ before.double()).to(before.dtype)
        self.register_buffer("offset", total(bias, through) if form.defer else None)
        self.register_buffer("bias", None if form.defer else bias.to(form.dtype))
        # (C, C') for products, so that every row of pixels times it is a row of the result.
        ready = flat.t() if form.products else weight.contiguous(memory_format=form.memory_format)
        self.register_buffer("weight", ready.to(form.dtype, copy=True))

    def forward(self, h: Tensor, x: Tensor, skip: Tensor | None) -> Tensor:
        parts = [x] if skip is None else [x, skip]
        cuts = [slice(0, None)] if skip is None else [slice(0, self.split), slice(self.split, None)]
        if not self.products:
            for part, cut in zip(parts, cuts):
                bias = self.bias if part is parts[0] else None
                h = h.add_(torch.nn.functional.conv2d(part, self.weight[:, cut], bias))
            return h
        h = h.contiguous(memory_format=torch.channels_last)  # As convolutions leave it; a copy could not be added to.
        rows = pixels(h)
        for part, cut in zip(parts, cuts):
            rows.addmm_(pixels(part), self.weight[cut])
        if self.bias is not None:
            rows.add_(self.bias)
        return h


class PreparedAttention(nn.Module):
    """Single-head self-attention over a frame's pixels, added onto its input in place."""

    offset: Tensor | None

    def __init__(self, layer: Attention, form: Form, before: Tensor | None) -> None:
        super().__init__()
        self.norm = PreparedNorm(layer.norm, before)
        self.products = form.products
        self.qkv = Conv(layer.qkv, form, defer=False)
        self.proj = Conv(conv2d(layer.proj), form)
        self.register_buffer("offset", total(before, self.proj.offset))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = self.norm(x)
        if not self.products and x.device.type == "cpu":
            return x.add_(self.proj(_attend(*self.qkv(y).flatten(2).chunk(3, dim=1)).unflatten(2, (h, w))))
        if not self.products:
            qkv = self.qkv(y).flatten(2).transpose(1, 2)  # (N, H*W, 3C)
            y = attention(*qkv.chunk(3, dim=-1)).transpose(1, 2).reshape(n, c, h, w)
            return x.add_(self.proj(y))
        qkv = torch.nn.functional.linear(pixels(y), self.qkv.weight[:, :, 0, 0], self.qkv.bias)
        y = attention(*qkv.unflatten(0, (n, h * w)).chunk(3, dim=-1)).flatten(0, 1)  # (N*H*W, C)
        x = x.contiguous(memory_format=torch.channels_last)
        rows = pixels(x)
        rows.addmm_(y, self.proj.weight[:, :, 0, 0].t())
        if self.proj.bias is not None:
            rows.add_(self.proj.bias)
        return x


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return single-head attention of tensors (N, C, T) as they lie: on a CPU, copies cost more than products here."""
    scores = torch.baddbmm(q.new_empty(()), q.mT, k, beta=0, alpha=q.shape[1] ** -0.5)
    return torch.bmm(v, scores.softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype).mT)


class Down(nn.Module):
    """Halve the resolution; what was left of biases is added first, in place, for the skip as well."""

    before: Tensor | None

    def __init__(self, layer: Downsample, form: Form, before: Tensor | None) -> None:
        super().__init__()
        self.conv = Conv(conv2d(layer.conv), form)
        self.register_buffer("before", spread(before, form))

    @property
    def offset(self) -> Tensor | None:
        """What is yet to be added to the result."""
        return self.conv.offset

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.before is None else x.add_(self.before))


class Up(nn.Module):
    """Double the resolution by nearest neighbours, and convolve."""

    before: Tensor | None

    def __init__(self, layer: Upsample, form: Form, before: Tensor | None) -> None:
        super().__init__()
        self.conv = Conv(conv2d(layer.conv), form)
        self.subpixel = form.subpixel
        if form.subpixel:
            phases = phase_weights(conv2d(layer.conv).weight.detach()).to(form.dtype)
            self.conv.weight = phases.contiguous(memory_format=form.memory_format)
        self.register_buffer("before", spread(before, form))

    @property
    def offset(self) -> Tensor | None:
        """What is yet to be added to the result."""
        return self.conv.offset

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.before is None else x.add_(self.before)
        if not self.subpixel:
            return self.conv(torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest"))
        return upsample(x, self.conv.weight, self.conv.bias)


def conv2d(module: nn.Module) -> nn.Conv2d:
    """Return a module that is a convolution as one."""
    assert isinstance(module, nn.Conv2d)
    return module


def pixels(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as its rows of pixels (N*H*W, C): a view where that is channels_last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def spread(offset: Tensor | None, form: Form) -> Tensor | None:
    """Return an offset shaped for adding to activations, (C, 1, 1), in their type."""
    return None if offset is None else offset.to(form.dtype)[:, None, None]
