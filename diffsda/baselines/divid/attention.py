"""Attention from places in a frame to two tokens, the static and the dynamic code."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class CodeAttention(nn.Module):
    """Attend to two tokens with several heads.

    Shapes: y (N, L, C) rows of features, tokens (N, 2, M), static first -> (N, L, C).
    A softmax over two keys is a sigmoid of the difference of the scores, and what it weighs lies between the two
    values: no product with all keys and no L x 2 scores are needed.
    Source: DiViD section 3.2 (3), after EncDiff; scaled dot-product attention, in closed form.
    """

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, context, bias=False)
        self.key = nn.Linear(context, context, bias=False)
        self.value = nn.Linear(context, context, bias=False)
        self.proj = nn.Linear(context, channels)

    def share(self, y: Tensor, tokens: Tensor) -> Tensor:
        """Return the share of its attention that each head gives the static token: (N, L, heads), from 0 to 1."""
        q = self.query(y).unflatten(2, (self.heads, -1))  # (N, L, heads, E)
        keys = self.key(tokens)
        gap = (keys[:, 0] - keys[:, 1]).unflatten(1, (self.heads, -1))  # (N, heads, E)
        return torch.einsum("nlhe,nhe->nlh", q, gap).div(math.sqrt(q.shape[-1])).sigmoid()

    def forward(self, y: Tensor, tokens: Tensor) -> Tensor:
        values = self.value(tokens).unflatten(2, (self.heads, -1))  # (N, 2, heads, E)
        static, dynamic = values[:, None, 0], values[:, None, 1]
        mixed = dynamic + self.share(y, tokens)[..., None] * (static - dynamic)  # (N, L, heads, E)
        out: Tensor = self.proj(mixed.flatten(2))
        return out


class Tokens(nn.Module):
    """Make the two tokens of every frame of its codes, each kind by a projection of its own.

    Shapes: static (N, S), dynamic (N, D) -> (N, 2, M).
    Source: DiViD section 4.1 (tokens projected to the attention's width, 256).
    """

    def __init__(self, static: int, dynamic: int, context: int) -> None:
        super().__init__()
        self.static = nn.Linear(static, context)
        self.dynamic = nn.Linear(dynamic, context)

    def forward(self, static: Tensor, dynamic: Tensor) -> Tensor:
        return torch.stack([self.static(static), self.dynamic(dynamic)], dim=1)
