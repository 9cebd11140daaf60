"""The five-layer MLPs of the vector networks: the input is read again at every layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsda.kernels.film_layer_norm import film_layer_norm
from diffsda.nn.init import kaiming_
from diffsda.nn.modulation import Modulate, Modulation, Tables, fold

LAYERS = 5
NOISE_FEATURES = 64
"""Fourier features of the vector denoiser, whatever its width (the authors' code)."""


class RowNorm(nn.LayerNorm):
    """Layer normalisation with modulation before it, and SiLU and dropout after, in one operation."""

    def __init__(self, width: int, act: str = "silu", dropout: float = 0.0) -> None:
        super().__init__(width, eps=1e-5)
        self.act = act
        self.dropout = dropout
        # As in the video blocks' Norm.
        self.dropout_state: Tensor | None = None
        self.dropout_site = 0

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        return film_layer_norm(
            x,
            self.weight,
            self.bias,
            scale=scale,
            shift=shift,
            act=self.act,
            eps=self.eps,
            dropout=self.dropout if self.training else 0.0,
            state=self.dropout_state,
            site=self.dropout_site,
        )


class MLPBackbone(nn.Module):
    """The denoising network of the audio and series models as ``tables``, ``fold`` and ``network``.

    Every time step is denoised on its own given its factors.
    Source: the authors' TimitDiff / TSDiff.
    """

    def __init__(self, features: int, factors: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.modulation = Modulation(
            [width] * (LAYERS - 1), features=NOISE_FEATURES, width=4 * NOISE_FEATURES, factors=factors
        )
        inputs = [features] + [width + features] * (LAYERS - 1)
        outputs = [width] * (LAYERS - 1) + [features]
        self.linears = nn.ModuleList([nn.Linear(i, o) for i, o in zip(inputs, outputs)])
        self.norms = nn.ModuleList([RowNorm(width, dropout=dropout) for _ in range(LAYERS - 1)])
        for linear in self.linears[:-1]:
            kaiming_(linear)  # type: ignore[arg-type]

    def tables(self, c_noise: Tensor, a: Tensor) -> Tables:
        """Return the modulation tables for noise levels c_noise (R,) and factors a (N, D + S)."""
        return Tables(self.modulation.noise_table(c_noise), self.modulation.factor_table(a))

    fold = staticmethod(fold)

    def network(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Run linear layers and norms: x (N, F), scale and shift (N, 4 * width) -> (N, F)."""
        h, width = x, self.modulation.channels[0]
        # Split, not sliced: the gradient of all parts is then one concatenation.
        parts = zip(scale.split(width, 1), shift.split(width, 1))
        for i, (linear, norm, part) in enumerate(zip(self.linears, self.norms, parts)):
            h = norm(linear(h if i == 0 else torch.cat([h, x], dim=-1)), *part)
        return self.linears[-1](torch.cat([h, x], dim=-1))

    def unfolded(self, x: Tensor, noise: Tensor, factor: Tensor) -> Tensor:
        """Run the network on tables that are not folded, as training on the CPU does.

        Shapes: x (K*N, F), noise (K*N, 2 * 4 * width), factor (N, 2 * 4 * width) -> (K*N, F).
        """
        h, count, width = x, len(self.norms), self.modulation.channels[0]
        noises, factors = noise.split(width, 1), factor.split(width, 1)
        for i, (linear, norm) in enumerate(zip(self.linears, self.norms)):
            h = linear(h if i == 0 else torch.cat([h, x], dim=-1))
            h = norm(Modulate.apply(h, noises[i], noises[count + i], factors[i], factors[count + i]))
        return self.linears[-1](torch.cat([h, x], dim=-1))


class MLPFrameEncoder(nn.Module):
    """Per-step features of the vector encoders: five layers, the raw input read again at each.

    Shapes: x (N, F) -> (N, width).
    Source: the authors' TimitEncoder / TSEncoder.
    """

    def __init__(self, features: int, *, width: int, dropout: float) -> None:
        super().__init__()
        inputs = [features] + [width + features] * (LAYERS - 1)
        self.linears = nn.ModuleList([nn.Linear(i, width) for i in inputs])
        last = LAYERS - 1
        self.norms = nn.ModuleList(
            [RowNorm(width, "none" if i == last else "silu", 0.0 if i == last else dropout) for i in range(LAYERS)]
        )
        for linear in self.linears[:-1]:
            kaiming_(linear)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for i, (linear, norm) in enumerate(zip(self.linears, self.norms)):
            h = norm(linear(h if i == 0 else torch.cat([h, x], dim=-1)))
        return h
