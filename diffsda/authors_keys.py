"""Which tensor of the authors' state dict is which part of ours, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsda.model import DiffSDA
from diffsda.nn.blocks import AdaGNBlock, Attention, EncoderBlock
from diffsda.nn.modulation import Modulation
from diffsda.nn.unet import UNet, UNetBackbone


@dataclass(frozen=True)
class Entry:
    """One tensor of theirs and where it lives in ours.

    Theirs is cut into ``len(rows)`` equal pieces along its first axis; piece i is ``ours[rows[i]]``. Rows None
    is the whole tensor. ``alias`` names a second key under which the authors store the same tensor.
    """

    theirs: str
    ours: str
    rows: tuple[slice, ...] | None = None
    alias: str | None = None


def entries(model: DiffSDA) -> list[Entry]:
    """List every tensor of the model under the authors' names."""
    return [*_backbone(model), *_encoder(model)]


def to_ours(theirs: dict[str, Tensor], model: DiffSDA) -> dict[str, Tensor]:
    """Gather our state dict (float32) from the authors' tensors, all of which must be there."""
    shapes = {k: v.shape for k, v in model.state_dict().items()}
    ours = {k: torch.empty(shape) for k, shape in shapes.items()}
    for entry in entries(model):
        value = theirs[entry.theirs].float()
        if entry.rows is None:
            ours[entry.ours].copy_(value)
        else:
            for piece, rows in zip(value.chunk(len(entry.rows)), entry.rows):
                ours[entry.ours][rows] = piece
    return ours


def to_theirs(ours: dict[str, Tensor], model: DiffSDA) -> dict[str, Tensor]:
    """Spread tensors named as ours (weights, or their gradients) over the authors' names."""
    theirs = {}
    for entry in entries(model):
        value = ours[entry.ours]
        if entry.rows is not None:
            value = torch.cat([value[rows] for rows in entry.rows])
        theirs[entry.theirs] = value
        if entry.alias is not None:
            theirs[entry.alias] = value
    return theirs


def _pair(theirs: str, ours: str) -> Iterator[Entry]:
    for kind in ("weight", "bias"):
        yield Entry(f"{theirs}.{kind}", f"{ours}.{kind}")


def _backbone(model: DiffSDA) -> Iterator[Entry]:
    net = model.denoiser.backbone
    ours, modulation = "denoiser.backbone", "denoiser.backbone.modulation"
    video = isinstance(net, UNetBackbone)
    embed = f"backbone.{'time_embedding' if video else 'time_embed'}.timembedding"
    yield Entry(f"{embed}.0.freqs", f"{modulation}.embedding.freqs")
    yield from _pair(f"{embed}.1", f"{modulation}.embedding.linear1")
    yield from _pair(f"{embed}.3", f"{modulation}.embedding.linear2")
    yield from _pair("backbone.fc_a", f"{modulation}.factor_in")
    if isinstance(net, UNetBackbone):
        places = list(_unet(net.unet, "backbone", f"{ours}.unet"))
        yield from (e for e in places if isinstance(e, Entry))
        blocks = [p for p in places if isinstance(p, str)]
        for block, part in zip(blocks, net.modulation.slices()):
            yield from _projection(f"{block}.temb_proj.1", f"{modulation}.noise_proj", net.modulation, part)
            yield from _projection(f"{block}.aemb_proj.1", f"{modulation}.factor_proj", net.modulation, part)
        return
    for i in range(len(net.linears)):
        yield from _pair(f"backbone.layers.{i}.linear", f"{ours}.linears.{i}")
    for i, part in enumerate(net.modulation.slices()):
        layer = f"backbone.layers.{i}"
        yield from _pair(f"{layer}.norm", f"{ours}.norms.{i}")
        for letter, proj in (("t", "noise_proj"), ("a", "factor_proj")):
            key, alias = f"{layer}.{letter}_linear_emb", f"{layer}.{letter}_cond_layers.1"
            yield from _projection(key, f"{modulation}.{proj}", net.modulation, part, alias)


def _projection(
    theirs: str, ours: str, modulation: Modulation, part: slice, alias: str | None = None
) -> Iterator[Entry]:
    """Map one block's projection: its scale half and its shift half lie apart in the packed matrix."""
    total = sum(modulation.channels)
    rows = (part, slice(total + part.start, total + part.stop))
    for kind in ("weight", "bias"):
        yield Entry(f"{theirs}.{kind}", f"{ours}.{kind}", rows, alias and f"{alias}.{kind}")


def _unet(net: UNet, theirs: str, ours: str) -> Iterator[Entry | str]:
    """Map a U-Net; the names of conditioned blocks are passed on as plain strings, in running order."""
    yield from _pair(f"{theirs}.head", f"{ours}.head")
    for name, part in (("downblocks", "down"), ("middleblocks", "middle"), ("upblocks", "up")):
        for i, layer in enumerate(getattr(net, part)):
            block, mine = f"{theirs}.{name}.{i}", f"{ours}.{part}.{i}"
            if isinstance(layer, (AdaGNBlock, EncoderBlock)):
                yield from _block(layer, block, mine)
            else:
                yield from _pair(f"{block}.main", f"{mine}.conv")
            if isinstance(layer, AdaGNBlock):
                yield block
    yield from _pair(f"{theirs}.tail.0", f"{ours}.tail_norm")
    yield from _pair(f"{theirs}.tail.2", f"{ours}.tail")


def _block(layer: AdaGNBlock | EncoderBlock, theirs: str, ours: str) -> Iterator[Entry]:
    names = {"block1.0": "norm1", "block1.2": "conv1", "block2.0": "norm2", "block2.3": "conv2"}
    if isinstance(layer, AdaGNBlock):
        names |= {"block3.0": "norm3", "block3.3": "conv3"}
    for a, b in names.items():
        yield from _pair(f"{theirs}.{a}", f"{ours}.{b}")
    if any(True for _ in layer.shortcut.parameters()):
        yield from _pair(f"{theirs}.shortcut", f"{ours}.shortcut")
    if isinstance(layer.attention, Attention):
        yield from _pair(f"{theirs}.attn.group_norm", f"{ours}.attention.norm")
        yield from _pair(f"{theirs}.attn.proj", f"{ours}.attention.proj")
        c = layer.attention.proj.weight.shape[0]
        for i, letter in enumerate("qkv"):
            rows = (slice(i * c, (i + 1) * c),)
            for kind in ("weight", "bias"):
                yield Entry(f"{theirs}.attn.proj_{letter}.{kind}", f"{ours}.attention.qkv.{kind}", rows)


def _encoder(model: DiffSDA) -> Iterator[Entry]:
    net = model.encoder
    if isinstance(net.frame, UNet):
        lstm = "encoder.lstm"
        yield from (e for e in _unet(net.frame, "encoder", "encoder.frame") if isinstance(e, Entry))
    else:
        lstm = "encoder.z_lstm"
        for i in range(len(net.frame.linears)):  # type: ignore[arg-type]
            yield from _pair(f"encoder.layers.{i}.linear", f"encoder.frame.linears.{i}")
            yield from _pair(f"encoder.layers.{i}.norm", f"encoder.frame.norms.{i}")
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        yield Entry(f"{lstm}.{name}", f"encoder.recurrent.forward_lstm.{name}")
        if net.recurrent.backward_lstm is not None:
            yield Entry(f"{lstm}.{name}_reverse", f"encoder.recurrent.backward_lstm.{name}")
        yield Entry(f"encoder.d_rnn.{name}", f"encoder.dynamic_rnn.{name}")
    yield from _pair("encoder.fc_s", "encoder.to_static")
    yield from _pair("encoder.fc_d", "encoder.to_dynamic")
