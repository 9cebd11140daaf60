"""DiViD's denoising networks: a U-Net for images and an MLP for vectors, both reading two tokens a frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffsda.baselines.divid.attention import CodeAttention, Tokens
from diffsda.baselines.divid.settings import DiViDSettings
from diffsda.nn.blocks import Attention, Downsample, Norm, Upsample, conv3
from diffsda.nn.init import xavier_
from diffsda.nn.mlp import RowNorm
from diffsda.nn.modulation import fold
from diffsda.prior.network import TIME_FEATURES, time_features


class Conditions(nn.Module):
    """Embed diffusion steps, and codes: as two tokens, or, for the AdaGN ablation, as one vector.

    Shapes: t (N,), static (N, S), dynamic (N, D) -> step (N, E), tokens (N, 2, M) or None, vector (N, E) or None.
    Source: DiViD section 4.1 (a two-layer MLP for the step); AdaGN as DiffAE and DiffSDA have it.
    """

    def __init__(self, settings: DiViDSettings, width: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        tokens = settings.conditioning == "cross_attention"
        codes = settings.static + settings.dynamic
        self.tokens = Tokens(settings.static, settings.dynamic, settings.context) if tokens else None
        self.vector = None if tokens else nn.Linear(codes, width)

    def forward(self, t: Tensor, static: Tensor, dynamic: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        step = self.time(time_features(t).to(static.dtype))
        if self.tokens is not None:
            return step, self.tokens(static, dynamic), None
        assert self.vector is not None
        return step, None, self.vector(torch.cat([dynamic, static], dim=1))


class Film(nn.Module):
    """Turn a step's embedding, and the codes' where they come so, into one scale and shift a channel.

    Shapes: step (N, E), vector (N, E) or None -> scale and shift (N, C).
    """

    def __init__(self, embedding: int, channels: int, *, codes: bool) -> None:
        super().__init__()
        self.step = nn.Linear(embedding, 2 * channels)
        self.codes = nn.Linear(embedding, 2 * channels) if codes else None

    def forward(self, step: Tensor, vector: Tensor | None) -> tuple[Tensor, Tensor]:
        noise = self.step(F.silu(step))
        if self.codes is None or vector is None:
            scale, shift = noise.chunk(2, dim=1)
            return 1 + scale, shift
        return fold(noise, self.codes(F.silu(vector)))


class ResBlock(nn.Module):
    """Residual block of two convolutions, the second after a modulated norm.

    Shapes: x (N, C_in, H, W), step (N, E), vector (N, E) or None -> (N, C, H, W).
    Source: DiViD section 4.1 (scale-shift normalisation), as in guided diffusion.
    """

    def __init__(self, settings: DiViDSettings, in_channels: int, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = Norm(in_channels), conv3(in_channels, channels)
        self.norm2, self.conv2 = Norm(channels, dropout=settings.dropout), conv3(channels, channels)
        self.film = Film(embedding, channels, codes=settings.conditioning == "adagn")
        same = in_channels == channels
        self.shortcut = nn.Identity() if same else xavier_(nn.Conv2d(in_channels, channels, 1))

    def forward(self, x: Tensor, step: Tensor, vector: Tensor | None) -> Tensor:
        h = self.conv1(self.norm1(x))
        y: Tensor = self.conv2(self.norm2(h, *self.film(step, vector))) + self.shortcut(x)
        return y


class SpatialTransformer(nn.Module):
    """Attention among pixels, attention to the two tokens, and a feed-forward layer, each with a residual connection.

    Shapes: x (N, C, H, W), tokens (N, 2, M), or None, which leaves the second out -> (N, C, H, W).
    Source: DiViD section 4.1 (spatial transformer blocks, as in latent diffusion).
    """

    def __init__(self, settings: DiViDSettings, channels: int) -> None:
        super().__init__()
        self.among = Attention(channels)
        codes = settings.conditioning == "cross_attention"
        self.norm = Norm(channels, act="none") if codes else None
        self.codes = CodeAttention(channels, settings.context, settings.context_heads) if codes else None
        self.feed_norm = Norm(channels, act="none")
        self.feed = nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), nn.GELU(), nn.Conv2d(4 * channels, channels, 1))

    def forward(self, x: Tensor, tokens: Tensor | None) -> Tensor:
        x = self.among(x)
        if self.codes is not None and self.norm is not None and tokens is not None:
            rows = self.norm(x).flatten(2).transpose(1, 2)  # (N, H*W, C)
            x = x + self.codes(rows, tokens).transpose(1, 2).reshape(x.shape)
        return x + self.feed(self.feed_norm(x))


class Stage(nn.Module):
    """A residual block, and a spatial transformer where this height has attention."""

    def __init__(
        self, settings: DiViDSettings, in_channels: int, channels: int, embedding: int, *, attend: bool
    ) -> None:
        super().__init__()
        self.block = ResBlock(settings, in_channels, channels, embedding)
        self.transformer = SpatialTransformer(settings, channels) if attend else None

    def forward(self, x: Tensor, step: Tensor, tokens: Tensor | None, vector: Tensor | None) -> Tensor:
        h: Tensor = self.block(x, step, vector)
        return h if self.transformer is None else self.transformer(h, tokens)


class DiViDUNet(nn.Module):
    """Predict the noise in images: stages down, through the middle and up again, with skip connections.

    Shapes: x (N, C, H, W), t (N,), static (N, S), dynamic (N, D) -> like x; frames are independent of each other.
    Source: DiViD section 4.1: four levels of 1, 2, 4, 4 times 128 channels, two blocks each, attention at heights 32,
    16 and 8 and in the middle. Differs: resampling is learned by convolutions between the blocks, not within them.
    """

    def __init__(self, settings: DiViDSettings) -> None:
        super().__init__()
        embedding, now, height = 4 * settings.width, settings.width, settings.size
        self.conditions = Conditions(settings, embedding)
        self.head = xavier_(nn.Conv2d(settings.channels, now, 3, padding=1))
        self.down, self.up, skips = nn.ModuleList(), nn.ModuleList(), [now]
        last = len(settings.multipliers) - 1

        def stage(before: int, after: int, attend: bool) -> Stage:
            return Stage(settings, before, after, embedding, attend=attend)

        for level, multiplier in enumerate(settings.multipliers):
            for _ in range(settings.blocks):
                self.down.append(stage(now, settings.width * multiplier, height in settings.attention))
                now = settings.width * multiplier
                skips.append(now)
            if level < last:
                self.down.append(Downsample(now))
                skips.append(now)
                height //= 2
        self.middle = nn.ModuleList([stage(now, now, True), stage(now, now, False)])
        for level, multiplier in reversed(list(enumerate(settings.multipliers))):
            for _ in range(settings.blocks + 1):
                self.up.append(stage(now + skips.pop(), settings.width * multiplier, height in settings.attention))
                now = settings.width * multiplier
            if level > 0:
                self.up.append(Upsample(now))
                height *= 2
        self.tail_norm = Norm(now)
        self.tail = xavier_(nn.Conv2d(now, settings.channels, 3, padding=1), gain=1e-5)

    def forward(self, x: Tensor, t: Tensor, static: Tensor, dynamic: Tensor) -> Tensor:
        given = self.conditions(t, static, dynamic)
        h = self.head(x)
        skips = [h]
        for layer in self.down:
            h = layer(h, *given) if isinstance(layer, Stage) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, *given)
        for layer in self.up:
            h = layer(torch.cat([h, skips.pop()], dim=1), *given) if isinstance(layer, Stage) else layer(h)
        y: Tensor = self.tail(self.tail_norm(h))
        return y


class VectorLayer(nn.Module):
    """A residual layer for vectors, modulated by the step, with attention to the two tokens.

    Shapes: h (N, W), step (N, E), tokens (N, 2, M) or None, vector (N, E) or None -> (N, W).
    """

    def __init__(self, settings: DiViDSettings, embedding: int) -> None:
        super().__init__()
        width = settings.vector_width
        self.linear, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = RowNorm(width, dropout=settings.dropout)
        self.film = Film(embedding, width, codes=settings.conditioning == "adagn")
        codes = settings.conditioning == "cross_attention"
        self.codes_norm = RowNorm(width, act="none") if codes else None
        self.codes = CodeAttention(width, settings.context, settings.context_heads) if codes else None

    def forward(self, h: Tensor, step: Tensor, tokens: Tensor | None, vector: Tensor | None) -> Tensor:
        h = h + self.out(self.norm(self.linear(h), *self.film(step, vector)))
        if self.codes is None or self.codes_norm is None or tokens is None:
            return h
        return h + self.codes(self.codes_norm(h)[:, None], tokens)[:, 0]


class DiViDMLP(nn.Module):
    """Predict the noise in vectors, one frame at a time.

    Shapes: x (N, F), t (N,), static (N, S), dynamic (N, D) -> like x.
    Differs: ours; the paper has images only. The same conditioning in a network without places.
    """

    def __init__(self, settings: DiViDSettings) -> None:
        super().__init__()
        width = settings.vector_width
        self.conditions = Conditions(settings, width)
        self.head = nn.Linear(settings.channels, width)
        self.layers = nn.ModuleList([VectorLayer(settings, width) for _ in range(settings.vector_layers)])
        self.tail_norm = RowNorm(width)
        self.tail = nn.Linear(width, settings.channels)

    def forward(self, x: Tensor, t: Tensor, static: Tensor, dynamic: Tensor) -> Tensor:
        given = self.conditions(t, static, dynamic)
        h = self.head(x)
        for layer in self.layers:
            h = layer(h, *given)
        y: Tensor = self.tail(self.tail_norm(h))
        return y
