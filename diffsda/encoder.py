"""The sequential semantic encoder: frames -> features -> recurrent states -> static and dynamic factors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsda.factors import Factors
from diffsda.nn.blocks import EncoderBlock
from diffsda.nn.init import xavier_
from diffsda.nn.mlp import MLPFrameEncoder
from diffsda.nn.recurrent import Recurrent, real_rows, valid
from diffsda.nn.unet import UNet
from diffsda.recipe import Recipe


class SequenceEncoder(nn.Module):
    """Take a clip apart into one static and V dynamic factors.

    Shapes: x (B, V, C, H, W) or (B, V, F), lengths (B,) or None -> Factors: static (B, S), or (B, V, S) when
    not shared; dynamic (B, V, D), zero on padded frames.
    Source: DiffSDA section 4.2 and the authors' code: the static factor comes from the last forward and first
    backward state of a bidirectional LSTM, the dynamic factors from a tanh RNN over its states.
    Differs (by recipe): ``causal`` keeps the forward direction only, so d_v depends on x_1..x_v alone, as the
    paper's Eq. 2 has it.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        clips, encoder = recipe.clips, recipe.encoder
        if recipe.backbone.kind == "unet":
            assert clips.size is not None
            self.frame: nn.Module = UNet(
                EncoderBlock,
                clips.channels,
                1,
                width=encoder.width,
                multipliers=encoder.multipliers,
                attention=encoder.attention,
                blocks=encoder.blocks,
                dropout=encoder.dropout,
            )
            features = clips.size**2
        else:
            features = 4 * encoder.width
            self.frame = MLPFrameEncoder(clips.channels, width=features, dropout=encoder.dropout)
        self.shared = encoder.shared_static
        self.recurrent = Recurrent(features, encoder.hidden, bidirectional=not encoder.causal)
        states = encoder.hidden * (1 if encoder.causal else 2)
        self.dynamic_rnn = nn.RNN(states, encoder.hidden, batch_first=True)
        self.to_static = xavier_(nn.Linear(states, encoder.static))
        self.to_dynamic = xavier_(nn.Linear(encoder.hidden, encoder.dynamic))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Factors:
        batch, frames = x.shape[:2]
        rows = real_rows(lengths, frames)
        flat = x.flatten(0, 1)
        if rows is None:
            features = self.frame(flat).flatten(1)
        else:
            kept = self.frame(flat[rows]).flatten(1)
            features = kept.new_zeros(flat.shape[0], kept.shape[1]).index_copy(0, rows, kept)
        features = features.unflatten(0, (batch, frames))  # (B, V, F)
        if torch.is_autocast_enabled(x.device.type):
            # cuDNN's recurrent networks run in float16 under autocast, whatever its type; gradients would underflow.
            with torch.autocast(x.device.type, enabled=False):
                return self._follow(features.float(), lengths)
        return self._follow(features, lengths)

    def _follow(self, features: Tensor, lengths: Tensor | None) -> Factors:
        """Return the factors that the recurrent parts make of features (B, V, F)."""
        states, summary = self.recurrent(features, lengths)
        static = self.to_static(summary if self.shared else states)
        dynamic = self.to_dynamic(self.dynamic_rnn(states)[0])  # (B, V, D)
        real = valid(lengths, features.shape[1])
        if real is not None:
            dynamic = dynamic * real[:, :, None]
            static = static if self.shared else static * real[:, :, None]
        return Factors(static, dynamic)
