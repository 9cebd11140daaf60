"""The two MLPs for vector steps (audio, time series) as the authors' code executes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsda.bench.published.blocks import TimeEmbedding
from diffsda.bench.published.sequence import encode_sequence, start_recurrent

FOURIER = 64
"""Width of the Fourier features, whatever the width of the net; the embeddings are four times that."""
LAYERS = 5


class ModulatedLayer(nn.Module):
    """Run a linear layer, modulate by noise level and factors, normalise, activate.

    The projections are held twice, alone and behind their SiLU: the checkpoints have both names.
    Shapes: h (B, V, in), temb and aemb (B, V, E) -> (B, V, out).
    Source: the authors' code.
    """

    def __init__(self, fan_in: int, fan_out: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)
        self.t_linear_emb = nn.Linear(embedding, 2 * fan_out)
        self.a_linear_emb = nn.Linear(embedding, 2 * fan_out)
        self.t_cond_layers = nn.Sequential(nn.SiLU(), self.t_linear_emb)
        self.a_cond_layers = nn.Sequential(nn.SiLU(), self.a_linear_emb)
        self.norm = nn.LayerNorm(fan_out)
        self.act = nn.SiLU()
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")

    def forward(self, h: Tensor, temb: Tensor, aemb: Tensor) -> Tensor:
        h = self.linear(h)
        scale, shift = self.t_cond_layers(temb).chunk(2, dim=-1)
        h = h * (1 + scale) + shift
        scale, shift = self.a_cond_layers(aemb).chunk(2, dim=-1)
        h = h * (1 + scale) + shift
        return self.dropout(self.act(self.norm(h)))


class PlainLayer(nn.Module):
    """Run a linear layer, then, as far as asked, normalisation and activation.

    Shapes: h (B, V, in) -> (B, V, out).
    Source: the authors' code.
    """

    def __init__(self, fan_in: int, fan_out: int, *, norm: bool, act: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)
        self.norm = nn.LayerNorm(fan_out) if norm else nn.Identity()
        self.act = nn.SiLU() if act else nn.Identity()
        self.dropout = nn.Dropout(dropout) if act else nn.Identity()
        if act:
            nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")

    def forward(self, h: Tensor) -> Tensor:
        return self.dropout(self.act(self.norm(self.linear(h))))


class VectorBackbone(nn.Module):
    """Denoise steps one by one: the network F. The input is appended again before every layer but the first.

    Shapes: x (B, V, F), c_noise (B * V,), a (B, V, D + S) -> (B, V, F).
    Source: the authors' code.
    """

    def __init__(self, features: int, factors: int, width: int, dropout: float) -> None:
        super().__init__()
        self.time_embed = TimeEmbedding(FOURIER)
        self.fc_a = nn.Linear(factors, 4 * FOURIER)
        fans = [features] + [width + features] * (LAYERS - 1)
        self.layers = nn.ModuleList(ModulatedLayer(fan, width, 4 * FOURIER, dropout) for fan in fans[:-1])
        self.layers.append(PlainLayer(fans[-1], features, norm=False, act=False))

    def forward(self, x: Tensor, c_noise: Tensor, a: Tensor) -> Tensor:
        temb = self.time_embed(c_noise).reshape(*x.shape[:2], -1)
        aemb = self.fc_a(a)
        h = x
        for i, layer in enumerate(self.layers):
            h = torch.cat([h, x], dim=-1) if i else h
            h = layer(h, temb, aemb) if isinstance(layer, ModulatedLayer) else layer(h)
        return h


class VectorEncoder(nn.Module):
    """Encode clips of vectors: an MLP a step, then the recurrent networks.

    Shapes: x (B, V, F) -> s (B, S) or (B, V, S), d (B, V, D), a (B, V, D + S).
    Source: the authors' code.
    """

    def __init__(
        self,
        features: int,
        width: int,
        dropout: float,
        hidden: int,
        static: int,
        dynamic: int,
        shared_static: bool,
    ) -> None:
        super().__init__()
        fans = [features] + [width + features] * (LAYERS - 1)
        self.layers = nn.ModuleList(
            PlainLayer(fan, width, norm=True, act=i < LAYERS - 1, dropout=dropout) for i, fan in enumerate(fans)
        )
        self.z_lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.fc_s = nn.Linear(2 * hidden, static)
        self.fc_d = nn.Linear(hidden, dynamic)
        self.d_rnn = nn.RNN(2 * hidden, hidden, batch_first=True)
        self.shared_static = shared_static
        start_recurrent(self.z_lstm, self.fc_s, self.fc_d)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = x
        for i, layer in enumerate(self.layers):
            h = layer(torch.cat([h, x], dim=-1) if i else h)
        return encode_sequence(h, self.z_lstm, self.d_rnn, self.fc_s, self.fc_d, self.shared_static)
