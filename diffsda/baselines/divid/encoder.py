"""DiViD's encoder: the static code from the first frame, the dynamic codes from how the others differ from it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffsda.baselines.dcgan import real_frames_through
from diffsda.baselines.divid.settings import DiViDSettings
from diffsda.factors import Factors
from diffsda.nn.blocks import Downsample, EncoderBlock, Norm
from diffsda.nn.mlp import MLPFrameEncoder
from diffsda.nn.recurrent import Recurrent, valid

PERIOD = 10_000.0


class ImageEncoder(nn.Sequential):
    """Embed images: residual blocks at each level, halving between levels, and a 1 x 1 convolution.

    Shapes: (N, C, H, W) -> (N, embedding * H' * W'), H' = H / 2^(levels - 1).
    Source: DiViD section 4.1 (three levels, two blocks each, embedding dimension 3). The kind of block is ours.
    """

    def __init__(self, settings: DiViDSettings) -> None:
        now = settings.encoder_width
        layers: list[nn.Module] = [nn.Conv2d(settings.channels, now, 3, padding=1)]
        for level, multiplier in enumerate(settings.encoder_multipliers):
            layers += [Downsample(now)] if level else []
            for _ in range(settings.encoder_blocks):
                after = settings.encoder_width * multiplier
                layers.append(EncoderBlock(now, after, attend=False, dropout=0.0))
                now = after
        super().__init__(*layers, Norm(now), nn.Conv2d(now, settings.embedding, 1), nn.Flatten())
        side = settings.size // 2 ** (len(settings.encoder_multipliers) - 1)
        self.features = settings.embedding * side**2


class TransformerReader(nn.Module):
    """Read residuals with self-attention over all frames: add where each stands, then layers normalised after.

    Shapes: r (B, V, M), real (B, V) or None -> (B, V, M).
    Source: DiViD section 4.1 (four layers, 32 heads, feed-forward 1024, dropout 0.1). Sinusoids for the positions and
    the place of the norms are those of the Transformer's paper.
    """

    def __init__(self, settings: DiViDSettings) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            settings.dynamic, settings.heads, settings.feedforward, settings.temporal_dropout, batch_first=True
        )
        # Nested tensors would give other shapes with lengths than without.
        self.layers = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.dropout = nn.Dropout(settings.temporal_dropout)

    def forward(self, r: Tensor, real: Tensor | None = None) -> Tensor:
        h = self.dropout(r + positions(r.shape[1], r.shape[2]).to(r))
        y: Tensor = self.layers(h, src_key_padding_mask=None if real is None else ~real)
        return y


class LSTMReader(nn.Module):
    """Read residuals with a bidirectional LSTM, the ablation.

    Shapes: r (B, V, M), real (B, V) or None -> (B, V, M).
    """

    def __init__(self, settings: DiViDSettings) -> None:
        super().__init__()
        self.recurrent = Recurrent(settings.dynamic, settings.dynamic // 2, bidirectional=True)

    def forward(self, r: Tensor, real: Tensor | None = None) -> Tensor:
        states: Tensor = self.recurrent(r, None if real is None else real.sum(1))[0]
        return states


class DiViDEncoder(nn.Module):
    """Take clips apart.

    Shapes: x (B, V, C, H, W) or (B, V, F), lengths (B,) or None -> static (B, S), dynamic (B, V, D), 0 on padded
    frames.
    Source: DiViD sections 3.2 and 4.1. Where ``normalise`` is on, both codes leave through a layer norm without
    weights.
    """

    def __init__(self, settings: DiViDSettings) -> None:
        super().__init__()
        if settings.kind == "video":
            self.frame: nn.Module = ImageEncoder(settings)
            features = self.frame.features
            assert isinstance(features, int)
        else:
            features = settings.encoder_width
            self.frame = MLPFrameEncoder(settings.channels, width=features, dropout=0.0)
        hidden = settings.static_hidden
        self.to_static = nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, settings.static),
        )
        self.residual_in = nn.Linear(features, settings.dynamic)
        kind = TransformerReader if settings.temporal == "transformer" else LSTMReader
        self.reader: nn.Module = kind(settings)
        self.to_dynamic = nn.Linear(settings.dynamic, settings.dynamic)
        self.normalise = settings.normalise

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Factors:
        real = valid(lengths, x.shape[1])
        return self.read(real_frames_through(self.frame, x, real), real)

    def read(self, features: Tensor, real: Tensor | None = None) -> Factors:
        """Return the codes that features (B, V, G) of frames hold."""
        static = self.to_static(features[:, 0])
        residuals = features - features[:, :1]  # The first is 0; its place in the clip still gives it a code.
        dynamic = self.to_dynamic(self.reader(self.residual_in(residuals), real))
        if self.normalise:
            static, dynamic = (F.layer_norm(code, code.shape[-1:]) for code in (static, dynamic))
        if real is not None:
            dynamic = dynamic * real[:, :, None]
        return Factors(static, dynamic)


def positions(frames: int, width: int) -> Tensor:
    """Return sinusoids of frame numbers (V, M): sines on even places, cosines on odd ones.

    Source: Vaswani et al. 2017, section 3.5.
    """
    rates = torch.exp(-math.log(PERIOD) * torch.arange(0, width, 2) / width)
    angles = torch.arange(frames)[:, None] * rates  # (V, ceil(M / 2))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
