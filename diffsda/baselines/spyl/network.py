"""SPYL's networks: what is read off a whole clip, and the vector kind's decoder."""

from __future__ import annotations

from torch import Tensor, nn

from diffsda.baselines.dbse.posterior import Posterior
from diffsda.baselines.gaussian import Gaussian, GaussianHead
from diffsda.nn.mlp import RowNorm
from diffsda.nn.recurrent import Recurrent, valid


class WholePosterior(nn.Module):
    """Read both codes off the whole clip: static from the outer states of a BiLSTM, dynamic from a tanh RNN over it.

    Shapes: features g (B, V, G), lengths (B,) or None -> static (B, S), dynamic (B, V, D), 0 on padded frames.
    Source: SPYL, after C-DSVAE.
    """

    def __init__(self, features: int, hidden: int, static: int, dynamic: int) -> None:
        super().__init__()
        self.recurrent = Recurrent(features, hidden, bidirectional=True)
        for module in self.recurrent.children():
            assert isinstance(module, nn.LSTM)
            module.reset_parameters()  # SPYL's recurrent networks start as torch makes them.
        self.rnn = nn.RNN(2 * hidden, hidden, batch_first=True)
        self.static_head = GaussianHead(2 * hidden, static)
        self.dynamic_head = GaussianHead(hidden, dynamic)

    def forward(self, g: Tensor, lengths: Tensor | None = None) -> Posterior:
        states, summary = self.recurrent(g, lengths)
        dynamic: Gaussian = self.dynamic_head(self.rnn(states)[0])
        real = valid(lengths, g.shape[1])
        if real is not None:
            mean, logvar = (v * real[:, :, None] for v in (dynamic.mean, dynamic.logvar))
            dynamic = Gaussian(mean, logvar)
        return Posterior(self.static_head(summary), dynamic)


class VectorDecoder(nn.Module):
    """Make vectors from codes: three normalised layers and a linear one.

    Shapes: (N, D + S) -> (N, F), any range.
    Differs: ours; SPYL decodes images only.
    """

    def __init__(self, codes: int, channels: int, width: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(codes if i == 0 else width, width) for i in range(3)])
        self.norms = nn.ModuleList([RowNorm(width) for _ in range(3)])
        self.out = nn.Linear(width, channels)

    def forward(self, a: Tensor) -> Tensor:
        h = a
        for linear, norm in zip(self.linears, self.norms):
            h = norm(linear(h))
        y: Tensor = self.out(h)
        return y
