"""From per-frame features to the factors, as the authors' code executes it: BiLSTM, then a tanh RNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def encode_sequence(
    h: Tensor, lstm: nn.LSTM, d_rnn: nn.RNN, fc_s: nn.Linear, fc_d: nn.Linear, shared_static: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return s, d and a from the features of all frames.

    Shapes: h (B, V, E) -> s (B, S) or (B, V, S), d (B, V, D), a (B, V, D + S), dynamic first.
    Source: the authors' code.
    """
    frames = h.shape[1]
    states, _ = lstm(h)  # (B, V, 2 * hidden), forward direction first
    hidden = lstm.hidden_size
    if shared_static:
        # Both directions have seen the whole clip at these two ends.
        s = fc_s(torch.cat([states[:, -1, :hidden], states[:, 0, hidden:]], dim=1))
        static = s.unsqueeze(1).expand(-1, frames, -1)
    else:
        s = static = fc_s(states)
    path, _ = d_rnn(states)
    d = fc_d(path)
    return s, d, torch.cat([d, static], dim=2)


def start_recurrent(lstm: nn.LSTM, fc_s: nn.Linear, fc_d: nn.Linear) -> None:
    """Draw the starting weights; all not named here keep PyTorch's default.

    Source: the authors' code (only the forward direction of the LSTM is touched).
    """
    nn.init.xavier_uniform_(lstm.weight_ih_l0)
    nn.init.xavier_uniform_(lstm.weight_hh_l0)
    nn.init.zeros_(lstm.bias_ih_l0)
    for layer in (fc_s, fc_d):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
