"""The latent prior as a graph for solvers of one's own."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from diffsda.errors import InputError
from diffsda.export.graphs import Graph
from diffsda.inference.execution import TYPES
from diffsda.prior.latent import LatentPrior
from diffsda.prior.network import PERIOD, TIME_FEATURES
from diffsda.recipe import Recipe

NAME = "prior"


def prior_graph(exact: LatentPrior, precision: str) -> Graph:
    """Return the graph of a prior, ``exact`` in float32 on the CPU.

    Inputs: z (clips, M), normalised; t (clips,), the diffusion steps from 0 as float32. Output: eps (clips, M).
    """
    draw, rows = torch.Generator().manual_seed(0), 3
    z = torch.randn(rows, exact.sizes.total, generator=draw)
    t = torch.linspace(0, exact.recipe.steps - 1, rows).round()
    module = Predict(exact, TYPES[precision])
    return Graph(NAME, module, exact.predict, ("z", "t"), ("eps",), ({0: "clips"},) * 2, (z, t))


def check(prior: LatentPrior, recipe: Recipe) -> None:
    """Refuse a prior of other factors than a model's. Raises: InputError."""
    sizes, encoder = prior.sizes, recipe.encoder
    if (sizes.static, sizes.dynamic) != (encoder.static, encoder.dynamic) or not encoder.shared_static:
        raise InputError(
            f"prior: got one over S {sizes.static} and D {sizes.dynamic}, expected the model's S {encoder.static}, one "
            f"a clip, and D {encoder.dynamic}; train one for this model with `diffsda train-prior`"
        )


def about(prior: LatentPrior) -> dict[str, Any]:
    """Return what a solver must know of a prior besides its graph, as plain data."""
    sizes = prior.sizes
    return {
        "takes": "z (clips, M) = ([s | d_1 .. d_V] - mean) / std with noise; t (clips,): diffusion steps from 0",
        "gives": "eps (clips, M): the unit noise in z",
        "static": sizes.static,
        "dynamic": sizes.dynamic,
        "frames": sizes.frames,
        "recipe": prior.recipe.to_dict(),
        "mean": prior.mean.double().tolist(),
        "std": prior.std.double().tolist(),
    }


class Predict(nn.Module):
    """z (N, M) and t (N,) -> the noise in z; the features of t in float32, as their angles need the digits."""

    rates: Tensor

    def __init__(self, prior: LatentPrior, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.parts = dtype, list(prior.columns.values())
        self.networks = copy.deepcopy(prior.networks).eval().requires_grad_(False)
        for network in self.networks.values():
            for part in (network.modulation, network.linears, network.norms):
                part.to(dtype)
        half = TIME_FEATURES // 2
        rates = torch.exp(-math.log(PERIOD) / half * torch.arange(half, dtype=torch.float64))
        self.register_buffer("rates", rates.float())

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        angles = t[:, None] * self.rates
        features = torch.cat([angles.cos(), angles.sin()], dim=1)  # (N, 64)
        found = []
        network: Any
        for network, part in zip(self.networks.values(), self.parts):
            step = silu(network.time_out(silu(network.time_in(features)))).to(self.dtype)
            scale = 1 + network.modulation(step)
            found.append(network.network(z[:, part].to(self.dtype), scale).float())
        return torch.cat(found, dim=1)
