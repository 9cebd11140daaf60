"""The network of the latent prior: a deep MLP that reads its input again at every layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from diffsda.nn.init import kaiming_
from diffsda.nn.mlp import RowNorm

TIME_FEATURES = 64
PERIOD = 10_000.0


class PriorNetwork(nn.Module):
    """Predict the noise eps in z_t (N, M) at diffusion step t.

    ``layers`` linear layers, all but the last ``width * M`` wide; each but the first reads [h | z]. After each but the
    last, h is scaled by what the step says, normalised by layer, activated and dropped out.
    Cost: 169 M^2 multiply-adds a row for 10 layers of 4 M, and 37 M^2 + 64 M a row of ``scales``. All samples of a step
    share one row of scales, and one product makes those of all steps: of B samples' 206 B M^2 a step, 169 B + 37 are
    left, 18 % less for many. For one sample the sums are the same, but a sixth of the weights is read once, not every
    step.
    Source: DiffSDA appendix B.3 and Table 8 (width 4 M), after DiffAE's MLPSkipNet; the authors' code.
    Differs: one packed matrix makes the scales of all layers, where theirs has one a layer (under two names);
    ``diffsda.prior.authors`` reads theirs.
    """

    def __init__(self, size: int, *, layers: int = 10, width: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.size, self.layers, self.hidden = size, layers, width * size
        self.time_in = nn.Linear(TIME_FEATURES, size)
        self.time_out = nn.Linear(size, size)
        self.modulation = kaiming_(nn.Linear(size, (layers - 1) * self.hidden))
        inputs = [size] + [self.hidden + size] * (layers - 1)
        outputs = [self.hidden] * (layers - 1) + [size]
        self.linears = nn.ModuleList([nn.Linear(i, o) for i, o in zip(inputs, outputs)])
        self.norms = nn.ModuleList([RowNorm(self.hidden, dropout=dropout) for _ in range(layers - 1)])
        for linear in self.linears[:-1]:
            kaiming_(linear)  # type: ignore[arg-type]

    def scales(self, t: Tensor) -> Tensor:
        """Return what steps t (R,) multiply the layers' outputs by: (R, (layers - 1) * width * M)."""
        silu = nn.functional.silu
        features = time_features(t).to(self.time_in.weight.dtype)  # (R, 64)
        return 1 + self.modulation(silu(self.time_out(silu(self.time_in(features)))))

    def network(self, z: Tensor, scale: Tensor) -> Tensor:
        """Run linear layers and norms.

        Shapes: z (N, M); scale a row a sample (N, (layers - 1) * width * M), or one row for all of them -> (N, M).
        """
        h = z
        parts = scale.split(self.hidden, 1)
        for i, (linear, norm) in enumerate(zip(self.linears, self.norms)):
            h = norm(linear(h if i == 0 else torch.cat([h, z], dim=1)) * parts[i])
        return self.linears[-1](torch.cat([h, z], dim=1))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return self.network(z, self.scales(t))


def time_features(t: Tensor) -> Tensor:
    """Return the sinusoids of diffusion steps t (R,): 32 cosines, then 32 sines, (R, 64) float32.

    Source: the authors' code.
    """
    half = TIME_FEATURES // 2
    # Frequencies in double precision, rounded once: t reaches 1000 and an angle keeps all its digits.
    rates = torch.exp(-math.log(PERIOD) / half * torch.arange(half, dtype=torch.float64, device=t.device))
    angles = t.to(torch.float32)[:, None] * rates.to(torch.float32)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def parameters_of(size: int, *, layers: int = 10, width: int = 4) -> int:
    """Return the number of parameters of a network for z of ``size`` M, without building it."""
    hidden = width * size
    inner = layers - 1
    linears = size * hidden + (inner - 1) * (hidden + size) * hidden + inner * hidden + (hidden + size) * size + size
    time = TIME_FEATURES * size + size + size * size + size
    return linears + time + inner * hidden * (size + 1) + inner * 2 * hidden
