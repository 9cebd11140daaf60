"""The parts of a model as modules of tensors in and tensors out, ready to be exported.

All inputs and outputs are float32; a lower precision lives between casts, with norms' statistics, embeddings, the
recurrent parts and EDM's coefficients in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffsda.edm.precondition import c_noise
from diffsda.edm.sampler import heun
from diffsda.edm.schedule import Plan
from diffsda.export.doubling import Doubled
from diffsda.export.recurrent import Recurrence
from diffsda.inference.execution import TYPES
from diffsda.inference.form import Form
from diffsda.inference.unet import PreparedNorm, PreparedUNet, Up
from diffsda.model import DiffSDA
from diffsda.nn.mlp import MLPBackbone
from diffsda.nn.modulation import Modulation, fold
from diffsda.nn.recurrent import Recurrent
from diffsda.nn.unet import UNet


@dataclass(frozen=True)
class Graph:
    """A module to export: names of what goes in and out, and which axes are free.

    ``original``: what the model itself computes from the same inputs, a tensor or a tuple of them. ``axes``: for every
    input the name of each free axis. ``example``: inputs to trace it with. ``casts``: whether the network inside runs
    in the chosen precision. ``sizes``: of the free axes, that are tried.
    """

    name: str
    module: nn.Module
    original: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: tuple[dict[int, str], ...]
    example: tuple[Tensor, ...]
    casts: bool = True
    sizes: tuple[int, ...] = (1, 7)


def graphs(exact: DiffSDA, precision: str, *, sampler: Plan | None = None) -> list[Graph]:
    """Return the graphs of a model: encoder, network, both tables, denoise, and the sampler for a plan.

    ``exact``: in float32 on the CPU, and as it is left.
    """
    recipe, dtype = exact.recipe, TYPES[precision]
    model = copy.deepcopy(exact).eval().requires_grad_(False)
    net = exact.denoiser.backbone
    frame = (recipe.clips.channels,) + ((recipe.clips.size,) * 2 if recipe.clips.size else ())
    draw = torch.Generator().manual_seed(0)

    def example(*shape: int) -> Tensor:
        return 0.5 * torch.randn(*shape, generator=draw)

    modulation, network = model.denoiser.backbone.modulation, Network(model, dtype)
    total, rows = sum(modulation.channels), 3
    row = {0: "frames"}
    x, scale, shift = example(rows, *frame), 1 + 0.1 * example(rows, total), example(rows, total)
    static, dynamic = example(rows, recipe.encoder.static), example(rows, recipe.encoder.dynamic)
    sigma = torch.tensor([0.1, 1.0, 10.0])
    clip = {0: "clips", 1: "length"}
    denoise = Denoise(model, network)

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        factors = exact.encode(x)
        return factors.static, factors.dynamic

    found = [
        Graph(
            "encoder", Encoder(model, dtype), encode, ("x",), ("static", "dynamic"), (clip,),
            (example(2, 5, *frame),),
        ),
        Graph("network", network, net.network, ("x", "scale", "shift"), ("f",), (row,) * 3, (x, scale, shift)),
        Graph(
            "noise_table", NoiseTable(modulation), net.modulation.noise_table, ("c_noise",), ("noise",),
            ({0: "levels"},), (sigma,), casts=False,
        ),
        Graph(
            "factor_table", FactorTable(modulation), lambda s, d: net.modulation.factor_table(_joined(s, d)),
            ("static", "dynamic"), ("factor",), (row,) * 2, (static, dynamic), casts=False,
        ),
        Graph(
            "denoise", denoise, lambda x, sigma, s, d: exact.denoiser(x, sigma, _joined(s, d)),
            ("x", "sigma", "static", "dynamic"), ("denoised",), (row,) * 4, (x, sigma, static, dynamic),
        ),
    ]  # fmt: skip
    if sampler is not None:
        plan = sampler

        def solve(noise: Tensor, static: Tensor, dynamic: Tensor) -> Tensor:
            evaluate = exact.denoiser.evaluate(plan.levels, _joined(static, dynamic))
            return heun(evaluate, noise * plan.levels[plan.steps[0].level], plan)

        found.append(
            Graph(
                "sampler", Sampler(modulation, network, plan), solve, ("noise", "static", "dynamic"), ("x",),
                (row,) * 3, (example(rows, *frame), static, dynamic),
            )
        )  # fmt: skip
    return found


class Encoder(nn.Module):
    """Clips of one length to factors: x (B, V, ...) -> static (B, S) or (B, V, S), dynamic (B, V, D)."""

    def __init__(self, model: DiffSDA, dtype: torch.dtype) -> None:
        super().__init__()
        encoder = model.encoder
        self.dtype, self.shared, self.hidden = dtype, encoder.shared, encoder.recurrent.forward_lstm.hidden_size
        frame = encoder.frame
        self.frame = _unet(frame, dtype) if isinstance(frame, UNet) else frame.to(dtype)
        self.recurrent = Recurrence("lstm", *_layers(encoder.recurrent))
        self.dynamic_rnn = Recurrence("rnn_tanh", encoder.dynamic_rnn)
        self.to_static, self.to_dynamic = encoder.to_static, encoder.to_dynamic

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.frame(x.flatten(0, 1).to(self.dtype)).float()
        states = self.recurrent(features.reshape(x.shape[0], x.shape[1], -1))
        summary = states
        if self.shared:
            summary = torch.cat([states[:, -1, : self.hidden], states[:, 0, self.hidden :]], dim=1)
        return self.to_static(summary), self.to_dynamic(self.dynamic_rnn(states))


class Network(nn.Module):
    """The denoising network alone: x (N, ...) scaled by c_in, scale and shift (N, sum C) -> F like x."""

    def __init__(self, model: DiffSDA, dtype: torch.dtype) -> None:
        super().__init__()
        backbone, self.dtype = model.denoiser.backbone, dtype
        self.slices = backbone.modulation.slices()
        self.mlp = copy.deepcopy(backbone).to(dtype) if isinstance(backbone, MLPBackbone) else None
        self.unet = None if isinstance(backbone, MLPBackbone) else _unet(backbone.unet, dtype)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        x, scale, shift = (t.to(self.dtype) for t in (x, scale, shift))
        if self.mlp is not None:
            return self.mlp.network(x, scale, shift).float()
        assert self.unet is not None
        return self.unet(x, [scale[:, s] for s in self.slices], [shift[:, s] for s in self.slices]).float()


class NoiseTable(nn.Module):
    """c_noise (R,) -> rows of the noise table (R, 2 sum C)."""

    def __init__(self, modulation: Modulation) -> None:
        super().__init__()
        self.modulation = modulation

    def forward(self, c_noise: Tensor) -> Tensor:
        return self.modulation.noise_table(c_noise)


class FactorTable(nn.Module):
    """static (N, S) and dynamic (N, D) -> rows of the factor table (N, 2 sum C)."""

    def __init__(self, modulation: Modulation) -> None:
        super().__init__()
        self.modulation = modulation

    def forward(self, static: Tensor, dynamic: Tensor) -> Tensor:
        return self.modulation.factor_table(_joined(static, dynamic))


class Denoise(nn.Module):
    """The denoiser whole: x (N, ...), sigma (N,), static (N, S), dynamic (N, D) -> D(x; sigma, factors) like x."""

    def __init__(self, model: DiffSDA, network: Network) -> None:
        super().__init__()
        self.modulation, self.network = model.denoiser.backbone.modulation, network
        self.edm = model.denoiser.precondition

    def forward(self, x: Tensor, sigma: Tensor, static: Tensor, dynamic: Tensor) -> Tensor:
        column = sigma.reshape(-1, *(1,) * (x.ndim - 1))
        noise = self.modulation.noise_table(c_noise(sigma))
        factor = self.modulation.factor_table(_joined(static, dynamic))
        f = self.network(self.edm.c_in(column) * x, *fold(noise, factor))
        return self.edm.c_skip(column) * x + self.edm.c_out(column) * f


class Sampler(nn.Module):
    """The whole sampler as one graph with a loop: unit noise (N, ...), static (N, S), dynamic (N, D) -> clips (N, ...).

    Every step of the plan but its last runs in the loop; the last, an Euler step, follows it.
    Source: DiffSDA Algorithm 1 without churn.
    """

    steps: Tensor
    first: Tensor
    second: Tensor
    last: Tensor

    def __init__(self, modulation: Modulation, network: Network, plan: Plan) -> None:
        super().__init__()
        self.modulation, self.network, self.plan = modulation, network, plan
        self.start = plan.levels[plan.steps[0].level]
        table = modulation.noise_table(c_noise(torch.tensor(plan.levels, dtype=torch.float64)).float())
        body = plan.steps[:-1]
        corrections = [step.correction for step in body]
        pairs = zip(body, corrections)
        rows = [(s.c_in, s.a, s.b, *c[1:]) for s, c in pairs if c is not None]
        assert len(rows) == len(body)
        assert plan.steps[-1].correction is None
        self.register_buffer("steps", torch.tensor(rows))
        self.register_buffer("first", table[[s.level for s in body]])
        self.register_buffer("second", table[[c[0] for c in corrections if c is not None]])
        self.register_buffer("last", table[plan.steps[-1].level])

    def forward(self, noise: Tensor, static: Tensor, dynamic: Tensor) -> Tensor:
        from torch._higher_order_ops.scan import scan

        factor = self.modulation.factor_table(_joined(static, dynamic))

        def step(x: Tensor, given: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            c_in, a, b, c_next, keep, first, second = given[0].unbind()
            f = self.network(x * c_in, *fold(given[1], factor))
            g = self.network((x * a + f * b) * c_next, *fold(given[2], factor))
            return x * keep + f * first + g * second, c_in.clone()

        x, _ = scan(step, noise * self.start, (self.steps, self.first, self.second), dim=0)
        end = self.plan.steps[-1]
        return end.a * x + end.b * self.network(x * end.c_in, *fold(self.last, factor))


def _joined(static: Tensor, dynamic: Tensor) -> Tensor:
    """Return factors as the model reads them: dynamic, then static."""
    return torch.cat([dynamic, static], dim=1)


def _layers(recurrent: Recurrent) -> list[nn.RNNBase]:
    back = recurrent.backward_lstm
    return [recurrent.forward_lstm] if back is None else [recurrent.forward_lstm, back]


def _unet(unet: UNet, dtype: torch.dtype) -> PreparedUNet:
    """Return a U-Net whose convolutions are as few as can be; runtimes fuse norms and biases on their own."""
    form = Form(
        dtype=dtype, channels_last=False, defer=False, two_source=False, products=False, subpixel=True, buffers=False
    )
    ready = PreparedUNet(unet, form).eval()
    for number, layer in enumerate(ready.up):
        if isinstance(layer, Up):
            ready.up[number] = Doubled(layer)
    for part in ready.modules():
        if isinstance(part, PreparedNorm):
            # ONNX's norm takes one type and computes its statistics in float32.
            part.weight, part.bias = part.weight.to(dtype), part.bias.to(dtype)
    return ready
