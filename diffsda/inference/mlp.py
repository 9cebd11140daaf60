"""The vector networks prepared for the CPU: buffers that stay in cache, nothing joined, biases for nothing.

A layer of width W on N rows is one matrix product and three or four passes over (N, W): the noise level's affine map
(with the product's bias in its constant), the factors' affine map, LayerNorm, SiLU. SiLU writes beside the network's
input, so that the next product finds both in one matrix. With more rows than the product has inputs, the noise level
goes into the weights instead, once a level, and its constant into the row of weights that meets a column of ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffsda.edm.sampler import Evaluate
from diffsda.inference.form import wide
from diffsda.nn.mlp import MLPBackbone, MLPFrameEncoder, RowNorm
from diffsda.nn.modulation import Tables

LINE = 16
"""float32 numbers in a cache line."""


class Layers:
    """Linear layers and norms that read the input again at every layer."""

    def __init__(self, linears: nn.ModuleList, norms: nn.ModuleList) -> None:
        self.weights = [wide(layer.weight).t() for layer in linears]  # type: ignore[arg-type]
        self.biases = [wide(layer.bias) for layer in linears]  # type: ignore[arg-type]
        self.norms: list[RowNorm] = [norm.requires_grad_(False) for norm in map(_copied, norms)]
        self.width, self.features = self.norms[0].weight.shape[0], self.weights[0].shape[0]

    def rooms(self, rows: int, spare: int = 0) -> tuple[Tensor, Tensor]:
        """Return memory for ``rows`` rows: [h | x | spare columns] side by side, and a layer's result."""
        like, columns = self.weights[0], self.width + self.features + spare
        # SiLU writes aligned rows a third faster.
        return _aligned(like, rows, columns), like.new_empty(rows, self.width)

    def put(self, y: Tensor, room: Tensor, norm: RowNorm) -> None:
        """Normalise a layer's result, activate it, and write it to where the next product reads."""
        y = F.layer_norm(y, (self.width,), norm.weight, norm.bias, norm.eps)
        if norm.act == "silu":
            torch.ops.aten.silu.out(y, out=room)
        else:
            room.copy_(y)


class PreparedMLP:
    """What an ``MLPBackbone`` computes at one noise level for all rows, without gradients or dropout."""

    def __init__(self, backbone: MLPBackbone) -> None:
        self.layers = Layers(backbone.linears, backbone.norms)

    def evaluator(self, tables: Tables) -> Evaluate:
        """Return the sampler's callable for tables of some levels (R, 2 sum C) and rows (N, 2 sum C)."""
        layers, count = self.layers, len(self.layers.norms)
        width = layers.width
        noise_scale, noise_shift = (t.unflatten(1, (count, width)) for t in tables.noise.chunk(2, dim=1))
        gains = 1 + noise_scale
        starts = torch.stack([g * b for g, b in zip(gains.unbind(1), layers.biases)], 1) + noise_shift
        # A layer's part of a row each in memory of its own: passes over it run straight.
        parts = tables.factor.unflatten(1, (2, count, width)).permute(1, 2, 0, 3).contiguous()
        scale, shift = parts[0].add_(1), parts[1]
        rows, last = tables.factor.shape[0], layers.biases[-1]
        folded = rows >= width + layers.features
        joined, h = layers.rooms(rows, spare=1 if folded else 0)
        room, inputs = joined[:, :width], joined[:, width : width + layers.features]
        sources = [joined[:, width:], *[joined] * (count - 1)]
        if folded:
            joined[:, -1] = 1
        inner = joined[:, : width + layers.features]
        at = _AtLevel(layers, gains, starts) if folded else None

        def network(scaled: Tensor, level: int) -> Tensor:
            inputs.copy_(scaled)
            weights = layers.weights if at is None else at(level)
            for i, norm in enumerate(layers.norms):
                torch.mm(sources[i], weights[i], out=h)
                if at is None:
                    torch.addcmul(starts[level, i], h, gains[level, i], out=h)
                torch.addcmul(shift[i], h, scale[i], out=h)
                layers.put(h, room, norm)
            return torch.addmm(last, inner, layers.weights[-1])

        return network


class _AtLevel:
    """The weights of all modulated layers with a noise level in them, kept while the level stays the same.

    Shapes: gains and starts (R, layers, W); a layer's weights (K, W) become (K + 1, W), the last row its constant.
    A solver evaluates a level twice in a row: at the end of a step and at the start of the next.
    """

    def __init__(self, layers: Layers, gains: Tensor, starts: Tensor) -> None:
        self.layers, self.gains, self.starts = layers, gains, starts
        self.level: int | None = None
        self.kept = [_aligned(w, w.shape[1], w.shape[0] + 1).t() for w in layers.weights[:-1]]

    def __call__(self, level: int) -> list[Tensor]:
        if level != self.level:
            for i, kept in enumerate(self.kept):
                torch.mul(self.layers.weights[i].t(), self.gains[level, i, :, None], out=kept[:-1].t())
                kept[-1] = self.starts[level, i]
            self.level = level
        return self.kept


class PreparedFrameMLP(nn.Module):
    """What an ``MLPFrameEncoder`` computes. Shapes: x (N, F) -> (N, width)."""

    def __init__(self, encoder: MLPFrameEncoder) -> None:
        super().__init__()
        self.layers = Layers(encoder.linears, encoder.norms)

    def forward(self, x: Tensor) -> Tensor:
        layers = self.layers
        joined, h = layers.rooms(x.shape[0])
        joined[:, layers.width :].copy_(x)
        room = joined[:, : layers.width]
        y = h
        for i, (weight, bias, norm) in enumerate(zip(layers.weights, layers.biases, layers.norms)):
            torch.addmm(bias, joined if i else x, weight, out=h)
            y = room if i < len(layers.norms) - 1 else torch.empty_like(h)
            layers.put(h, y, norm)
        return y


def _aligned(like: Tensor, rows: int, columns: int) -> Tensor:
    """Return memory for (rows, columns) numbers, every row from the start of a cache line."""
    return like.new_empty(rows, -(-columns // LINE) * LINE)[:, :columns]


def _copied(norm: nn.Module) -> RowNorm:
    assert isinstance(norm, RowNorm)
    twin = RowNorm(norm.weight.shape[0], norm.act)
    twin.load_state_dict(norm.state_dict())
    return twin.to(norm.weight.dtype)
