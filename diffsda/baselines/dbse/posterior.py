"""What DBSE reads off a clip: Gaussians of the static and the dynamic codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffsda.baselines.draws import Draws
from diffsda.baselines.gaussian import Gaussian, GaussianHead
from diffsda.factors import Factors
from diffsda.nn.recurrent import valid


@dataclass(frozen=True)
class Posterior:
    """Gaussians of the codes of clips: static (B, S), dynamic (B, V, D)."""

    static: Gaussian
    dynamic: Gaussian

    def means(self) -> Factors:
        """Return the most likely codes."""
        return Factors(self.static.mean, self.dynamic.mean)

    def sample(self, draws: Draws) -> Factors:
        """Draw codes: ``s`` (B, S), then ``d`` (B, V, D)."""
        s, d = self.static, self.dynamic
        return Factors(
            s.sample(draws("s", tuple(s.mean.shape), s.mean)), d.sample(draws("d", tuple(d.mean.shape), d.mean))
        )


class SinglePosterior(nn.Module):
    """Read the static codes off one element's features, the dynamic ones off what the others differ from it by.

    Shapes: features g (B, V, G), those of the single element (B, G), slot (B, G), lengths (B,) or None -> Posterior.
    The slot stands where the single element, the first, was: nothing is left of it after the subtraction.
    Source: DBSE (MLP with tanh; bidirectional LSTM of two layers), video and audio.
    Differs: the paper's dynamic codes see only the past; the released code sees both ways, and so does this.
    """

    def __init__(self, features: int, hidden: int, static: int, dynamic: int, *, squash: bool = False) -> None:
        super().__init__()
        self.static_in = nn.Linear(features, hidden)
        self.static_head = GaussianHead(hidden, static, squash=squash)
        self.lstm = nn.LSTM(features, dynamic, num_layers=2, bidirectional=True, batch_first=True)
        self.dynamic_head = GaussianHead(2 * dynamic, dynamic)

    def forward(self, g: Tensor, single: Tensor, slot: Tensor, lengths: Tensor | None = None) -> Posterior:
        static = self.static_head(torch.tanh(self.static_in(single)))
        changes = torch.cat([slot[:, None], g[:, 1:] - single[:, None]], dim=1)  # (B, V, G)
        dynamic: Gaussian = self.dynamic_head(both_ways(self.lstm, changes, lengths))
        real = valid(lengths, g.shape[1])
        if real is not None:
            mean, logvar = (v * real[:, :, None] for v in (dynamic.mean, dynamic.logvar))
            dynamic = Gaussian(mean, logvar)
        return Posterior(static, dynamic)


def both_ways(lstm: nn.LSTM, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Run a bidirectional LSTM within each clip's length; padded frames come back as 0.

    Shapes: x (B, V, F), lengths (B,) or None for all V -> (B, V, 2H).
    """
    if lengths is None:
        return lstm(x)[0]
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]
