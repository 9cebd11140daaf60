"""Conditioning as tables: noise level and factors become one scale and one shift a sample and channel.

In every block the authors apply ``h * (1 + ts) + tb`` for the noise level and then ``h * (1 + as) + ab`` for
the factors. Both affine maps fold into one, and neither depends on h: all blocks' projections are packed into
one matrix each, applied once per noise level and once per frame, outside the sampling loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from diffsda.nn.embedding import NoiseEmbedding
from diffsda.nn.init import xavier_, xavier_rows_


@dataclass(frozen=True)
class Tables:
    """Both halves of the modulation, for all blocks at once.

    Shapes: noise (R, 2 * sum C), one row a noise level; factor (N, 2 * sum C), one row a frame. The first half
    of a row is the scales of all blocks, the second half the shifts.
    """

    noise: Tensor
    factor: Tensor


def fold(noise: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Fold a noise row and a factor row into one scale and one shift.

    scale = (1 + ts) (1 + as),  shift = tb (1 + as) + ab

    Shapes: noise and factor (..., 2 * sum C), broadcast against each other -> two of (..., sum C).
    Source: DiffSDA Eq. 9. Differs: the authors' code, which we match, has (1 + scale) and a factor shift.
    """
    noise_scale, noise_shift = noise.chunk(2, dim=-1)
    factor_scale, factor_shift = factor.chunk(2, dim=-1)
    gain = 1 + factor_scale
    return (1 + noise_scale) * gain, torch.addcmul(factor_shift, noise_shift, gain)


class Modulate(torch.autograd.Function):
    """Apply both halves of the modulation of one layer to rows, unfolded.

    y = (h (1 + ts) + tb) (1 + as) + ab

    Shapes: h, ts, tb, y (K*N, C), draw after draw; as, ab (N, C). Training on the CPU spends less on this than on
    folding: what is folded there is as large as all activations together, and is read back once.
    Source: DiffSDA Eq. 9, as ``fold``. Once differentiable.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, ts: Tensor, tb: Tensor, as_: Tensor, ab: Tensor) -> Tensor:
        """Return y; keep what the gradients need."""
        gain = 1 + as_
        inner = torch.addcmul(h, h, ts).add_(tb)
        ctx.save_for_backward(h, ts, inner, gain)
        return torch.addcmul(ab, inner.unflatten(0, (-1, len(gain))), gain).flatten(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of what ``forward`` is given."""
        h, ts, inner, gain = ctx.saved_tensors
        draws = (-1, len(gain))
        d_as, d_ab = (inner * dy).unflatten(0, draws).sum(0), dy.unflatten(0, draws).sum(0)
        d_tb = (dy.unflatten(0, draws) * gain).flatten(0, 1)
        return torch.addcmul(d_tb, d_tb, ts), d_tb * h, d_tb, d_as, d_ab


class Modulation(nn.Module):
    """The embeddings of noise level and factors, and every block's projections of them, packed.

    Shapes: ``noise_proj.weight`` and ``factor_proj.weight`` (2 * sum C, width).
    """

    def __init__(self, channels: Sequence[int], *, features: int, width: int, factors: int) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.embedding = NoiseEmbedding(features, width)
        self.factor_in = xavier_(nn.Linear(factors, width))
        self.noise_proj = nn.Linear(width, 2 * sum(channels))
        self.factor_proj = nn.Linear(width, 2 * sum(channels))
        for proj in (self.noise_proj, self.factor_proj):
            for half in (0, sum(channels)):
                xavier_rows_(
                    proj.weight,
                    [slice(half + s.start, half + s.stop) for s in self.slices()],
                    [2 * c for c in channels],
                )
            nn.init.zeros_(proj.bias)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the tables."""
        return self.noise_proj.weight.dtype

    def slices(self) -> list[slice]:
        """Return where each block's channels lie in a folded scale or shift."""
        out, start = [], 0
        for c in self.channels:
            out.append(slice(start, start + c))
            start += c
        return out

    def noise_table(self, c_noise: Tensor) -> Tensor:
        """Return the noise rows (R, 2 * sum C) for c_noise (R,), in float32 whatever autocast says."""
        with torch.autocast(c_noise.device.type, enabled=False):
            # The embedding already ends in a SiLU; the authors' blocks apply another.
            return self.noise_proj(F.silu(self.embedding(c_noise)))

    def factor_table(self, a: Tensor) -> Tensor:
        """Return the factor rows (N, 2 * sum C) for factors a (N, D + S), in float32."""
        with torch.autocast(a.device.type, enabled=False):
            return self.factor_proj(F.silu(self.factor_in(a.to(self.dtype))))
