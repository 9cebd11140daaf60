"""D(x; sigma, z): EDM preconditioning around a backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsda.edm.precondition import Precondition, c_noise
from diffsda.edm.sampler import Evaluate
from diffsda.kernels.backend import resolve
from diffsda.nn.mlp import MLPBackbone
from diffsda.nn.modulation import fold
from diffsda.nn.unet import UNetBackbone
from diffsda.recipe import Recipe


def build_backbone(recipe: Recipe) -> UNetBackbone | MLPBackbone:
    """Build the denoising network F that the recipe names."""
    net, factors = recipe.backbone, recipe.encoder.static + recipe.encoder.dynamic
    if net.kind == "mlp":
        return MLPBackbone(recipe.clips.channels, factors, width=4 * net.width, dropout=net.dropout)
    return UNetBackbone(
        recipe.clips.channels,
        factors,
        width=net.width,
        multipliers=net.multipliers,
        attention=net.attention,
        blocks=net.blocks,
        dropout=net.dropout,
        zero_init=net.zero_init,
    )


class Denoiser(nn.Module):
    """The denoised clip given a noisy one, its noise level and its factors; frames are independent rows.

    Source: DiffSDA section 3 (EDM); sigma_data 0.5.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.backbone = build_backbone(recipe)
        self.precondition = Precondition(recipe.noise.sigma_data)

    def forward(self, x: Tensor, sigma: Tensor, a: Tensor, level: Tensor | None = None) -> Tensor:
        """Denoise rows.

        Shapes: x (K*N, C, H, W) or (K*N, F); a (N, D + S), where K draws share the same factors in the same
        order; sigma (K*N,), or (R,) distinct levels with ``level`` (K*N,) saying which is whose -> like x.
        """
        edm = self.precondition
        sigma = sigma.to(torch.float32 if x.dtype != torch.float64 else torch.float64)
        column = (sigma if level is None else sigma[level]).reshape(-1, *(1,) * (x.ndim - 1))
        f = self.predict((edm.c_in(column) * x).to(x.dtype), sigma, a, level)
        return edm.c_skip(column) * x + edm.c_out(column) * f

    def predict(self, scaled: Tensor, sigma: Tensor, a: Tensor, level: Tensor | None = None) -> Tensor:
        """Return the network's output F for inputs scaled by c_in already.

        Shapes: as ``forward``, scaled like x there -> like it.
        """
        net = self.backbone
        sigma = sigma.to(torch.float32 if scaled.dtype != torch.float64 else torch.float64)
        tables = net.tables(c_noise(sigma), a)
        noise = tables.noise if level is None else tables.noise.index_select(0, level)
        if isinstance(net, MLPBackbone) and _trains_on_cpu(net, scaled):
            return net.unfolded(scaled, noise, tables.factor)
        noise = noise.unflatten(0, (-1, a.shape[0]))  # (K, N, 2 sum C)
        scale, shift = (t.flatten(0, 1) for t in net.fold(noise, tables.factor))
        return net.network(scaled, scale, shift)

    def evaluate(self, levels: tuple[float, ...], a: Tensor) -> Evaluate:
        """Return the sampler's callable, with all conditioning worked out beforehand.

        One noise row a level and one factor row a frame: two matrix products a sample, none in the loop.
        Shapes: a (N, D + S); the callable takes (N, ...) rows.
        """
        net = self.backbone
        sigma = torch.tensor(levels, dtype=torch.float64, device="cpu")
        noise = c_noise(sigma).to(a.device, net.modulation.dtype, non_blocking=True)
        tables = net.tables(noise, a)

        def network(scaled: Tensor, level: int) -> Tensor:
            return net.network(scaled, *fold(tables.noise[level], tables.factor))

        return network


def _trains_on_cpu(net: MLPBackbone, x: Tensor) -> bool:
    """Whether gradients are wanted on plain torch, eagerly: a compiled network, or our kernels, want folded tables."""
    compiled = "network" in vars(net)
    return torch.is_grad_enabled() and not compiled and resolve("film_layer_norm", x.device) == "torch"
