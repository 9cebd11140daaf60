"""The two U-Nets for frames as the authors' code executes them: the denoiser's and the encoder's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from diffsda.bench.published.blocks import (
    GROUPS,
    DownSample,
    ModulatedBlock,
    PlainBlock,
    TimeEmbedding,
    UpSample,
    xavier,
)
from diffsda.bench.published.sequence import encode_sequence, start_recurrent

Block = Callable[[int, int, bool], nn.Module]


class UNet(nn.Module):
    """Hold what both U-Nets share: topology and the walk through it.

    Source: the authors' code.
    """

    def _assemble(
        self,
        block: Block,
        channels: tuple[int, int],
        width: int,
        multipliers: Sequence[int],
        attention: Sequence[int],
        blocks: int,
    ) -> None:
        """Register head, levels and tail; called by each net where its checkpoint has them.

        ``block(cin, cout, attention)`` makes a residual block; ``channels`` are those in and out of the net.
        """
        self.head = nn.Conv2d(channels[0], width, 3, padding=1)
        self.downblocks = nn.ModuleList()
        now, skips = width, [width]
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.downblocks.append(block(now, width * multiplier, level in attention))
                now = width * multiplier
                skips.append(now)
            if level < len(multipliers) - 1:
                self.downblocks.append(DownSample(now))
                skips.append(now)
        self.middleblocks = nn.ModuleList([block(now, now, True), block(now, now, False)])
        self.upblocks = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                self.upblocks.append(block(now + skips.pop(), width * multiplier, level in attention))
                now = width * multiplier
            if level:
                self.upblocks.append(UpSample(now))
        self.tail = nn.Sequential(nn.GroupNorm(GROUPS, now), nn.SiLU(), nn.Conv2d(now, channels[1], 3, padding=1))
        xavier(self.head)
        xavier(self.tail, gain=1e-5)

    def _walk(self, x: Tensor, *conditioning: Tensor) -> Tensor:
        """Run the net on frames x (N, C, H, W); every block is handed the same conditioning."""
        h = self.head(x)
        skips = [h]
        for layer in self.downblocks:
            h = layer(h, *conditioning)
            skips.append(h)
        for layer in self.middleblocks:
            h = layer(h, *conditioning)
        for layer in self.upblocks:
            if not isinstance(layer, UpSample):
                h = torch.cat([h, skips.pop()], dim=1)
            h = layer(h, *conditioning)
        return self.tail(h)


class VideoBackbone(UNet):
    """Denoise frames one by one: the network F.

    Shapes: x (N, C, H, W), c_noise (N,), a (N, D + S) -> (N, C, H, W), with N = B * V.
    Source: the authors' code.
    """

    def __init__(
        self,
        channels: int,
        factors: int,
        width: int,
        multipliers: Sequence[int],
        attention: Sequence[int],
        blocks: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.time_embedding = TimeEmbedding(width)
        self.fc_a = nn.Linear(factors, 4 * width)
        xavier(self.time_embedding)
        xavier(self.fc_a)

        def block(cin: int, cout: int, attend: bool) -> nn.Module:
            return ModulatedBlock(cin, cout, 4 * width, dropout, attend)

        self._assemble(block, (channels, channels), width, multipliers, attention, blocks)

    def forward(self, x: Tensor, c_noise: Tensor, a: Tensor) -> Tensor:
        return self._walk(x, self.time_embedding(c_noise), self.fc_a(a))


class VideoEncoder(UNet):
    """Encode clips: a U-Net down to one channel, then the recurrent networks over its H * W values.

    Shapes: x (B, V, C, H, W) -> s (B, S) or (B, V, S), d (B, V, D), a (B * V, D + S).
    Source: the authors' code.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        width: int,
        multipliers: Sequence[int],
        attention: Sequence[int],
        blocks: int,
        dropout: float,
        hidden: int,
        static: int,
        dynamic: int,
        shared_static: bool,
    ) -> None:
        super().__init__()

        def block(cin: int, cout: int, attend: bool) -> nn.Module:
            return PlainBlock(cin, cout, dropout, attend)

        self._assemble(block, (channels, 1), width, multipliers, attention, blocks)
        self.lstm = nn.LSTM(size * size, hidden, batch_first=True, bidirectional=True)
        self.d_rnn = nn.RNN(2 * hidden, hidden, batch_first=True)
        self.fc_s = nn.Linear(2 * hidden, static)
        self.fc_d = nn.Linear(hidden, dynamic)
        self.shared_static = shared_static
        start_recurrent(self.lstm, self.fc_s, self.fc_d)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, frames = x.shape[:2]
        h = self._walk(x.reshape(batch * frames, *x.shape[2:])).reshape(batch, frames, -1)  # (B, V, H * W)
        s, d, a = encode_sequence(h, self.lstm, self.d_rnn, self.fc_s, self.fc_d, self.shared_static)
        return s, d, a.reshape(batch * frames, -1)
