"""Recurrent networks over frames, with lengths: a padded step changes nothing and nothing waits for the host."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """An LSTM over frames, in both directions or forward only.

    Shapes: x (B, V, F), lengths (B,) or None -> states (B, V, H or 2H) and summary (B, H or 2H): the last
    forward state, followed by the first backward one.
    Two single-direction LSTMs rather than one bidirectional: the backward one reads each clip reversed within
    its own length, so shapes do not depend on the lengths and no packing is needed.
    Source: the authors' encoder; its default starting weights (forward direction Xavier uniform with zero
    input bias, everything else torch's default).
    """

    def __init__(self, features: int, hidden: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.forward_lstm = nn.LSTM(features, hidden, batch_first=True)
        self.backward_lstm = nn.LSTM(features, hidden, batch_first=True) if bidirectional else None
        weights = dict(self.forward_lstm.named_parameters())
        nn.init.xavier_uniform_(weights["weight_ih_l0"])
        nn.init.xavier_uniform_(weights["weight_hh_l0"])
        nn.init.zeros_(weights["bias_ih_l0"])

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        ahead, _ = self.forward_lstm(x)
        if lengths is None:
            summary = ahead[:, -1]
        else:
            last = (lengths - 1)[:, None, None].expand(-1, 1, ahead.shape[2])
            summary = ahead.gather(1, last)[:, 0]
        if self.backward_lstm is None:
            return ahead, summary
        back, _ = self.backward_lstm(reverse(x, lengths))
        back = reverse(back, lengths)
        return torch.cat([ahead, back], dim=2), torch.cat([summary, back[:, 0]], dim=1)


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse the frames of each clip within its length; padded frames stay where they are.

    Shapes: x (B, V, F), lengths (B,) -> (B, V, F). Reversing twice is the identity.
    """
    if lengths is None:
        return x.flip(1)
    frame = torch.arange(x.shape[1], device=x.device)[None]  # (1, V)
    source = torch.where(frame < lengths[:, None], lengths[:, None] - 1 - frame, frame)
    return x.gather(1, source[:, :, None].expand_as(x))


def valid(lengths: Tensor | None, frames: int) -> Tensor | None:
    """Return which frames are real (B, V), or None when all are."""
    if lengths is None:
        return None
    return torch.arange(frames, device=lengths.device)[None] < lengths[:, None]


def real_rows(lengths: Tensor | None, frames: int) -> Tensor | None:
    """Return which of the B*V rows are real frames, or None to work on all of them.

    Skipping padding changes no result. How many rows remain is only known on the host, so on a device, where
    asking would make the host wait and shapes must not change, all rows are worked on.
    """
    real = valid(lengths, frames)
    if real is None or real.device.type != "cpu" or bool(real.all()):
        return None
    return real.flatten().nonzero()[:, 0]
