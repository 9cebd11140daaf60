"""A prior over dynamic codes: each depends on those before it through two recurrent layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffsda.baselines.gaussian import Gaussian, GaussianHead
from diffsda.errors import InputError


@dataclass(frozen=True)
class RollOut:
    """What a free run of the prior gave: the Gaussian of every step and what was fed on, both (B, V, D)."""

    steps: Gaussian
    codes: Tensor


class LSTMPrior(nn.Module):
    """Predict p(d_v | d_1..d_{v-1}): two LSTM layers and a Gaussian head; the first step sees zeros.

    Source: DBSE and SPYL (two LSTM cells and two linear layers). Differs: one module holds both cells, so that a
    teacher-forced pass is a single call.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.size = size
        self.lstm = nn.LSTM(size, hidden, num_layers=2, batch_first=True)
        self.head = GaussianHead(hidden, size)

    def teacher_forced(self, codes: Tensor) -> Gaussian:
        """Return the Gaussian of every step given the true codes before it: (B, V, D) -> (B, V, D)."""
        before = torch.cat([torch.zeros_like(codes[:, :1]), codes[:, :-1]], dim=1)
        out: Gaussian = self.head(self.lstm(before)[0])
        return out

    def roll_out(self, count: int, frames: int, eps: Tensor | None = None) -> RollOut:
        """Run freely, fed with its own samples, or with its own means where ``eps`` is None.

        Shapes: eps (B, V, D) unit normals -> (B, V, D); any number of frames.
        Raises: InputError for another shape of eps.
        """
        if eps is not None and tuple(eps.shape) != (count, frames, self.size):
            raise InputError(f"eps: got {tuple(eps.shape)}, expected {(count, frames, self.size)}")
        code = self.head.mean.weight.new_zeros(count, 1, self.size)
        state: tuple[Tensor, Tensor] | None = None
        steps, codes = [], []
        for frame in range(frames):
            h, state = self.lstm(code, state)
            step: Gaussian = self.head(h)
            code = step.mean if eps is None else step.sample(eps[:, frame : frame + 1])
            steps.append(step)
            codes.append(code)
        mean, logvar = torch.cat([s.mean for s in steps], 1), torch.cat([s.logvar for s in steps], 1)
        return RollOut(Gaussian(mean, logvar), torch.cat(codes, 1))
