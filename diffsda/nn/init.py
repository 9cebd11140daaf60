"""The authors' initialisations, by name."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)


def xavier_(module: Layer, gain: float = 1.0) -> Layer:
    """Fill a convolution or linear layer: Xavier uniform weights, zero bias.

    Source: the authors' code, every convolution and linear of the video networks.
    """
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    nn.init.xavier_uniform_(weight, gain)
    if isinstance(bias, Tensor):
        nn.init.zeros_(bias)
    return module


def xavier_rows_(weight: Tensor, rows: list[slice], fan_out: list[int]) -> None:
    """Fill a packed weight so that each group of rows is Xavier uniform with its own fan-out.

    Shapes: weight (sum of rows, fan_in). A packed matrix holds one projection a block; its bound depends on
    the width of the block, not on the sum over blocks.
    """
    with torch.no_grad():
        for part, out in zip(rows, fan_out):
            bound = math.sqrt(6.0 / (weight.shape[1] + out))
            weight[part].uniform_(-bound, bound)


def kaiming_(layer: nn.Linear) -> nn.Linear:
    """Fill a linear layer: Kaiming normal for ReLU over fan-in; the bias keeps torch's default.

    Source: the authors' code, the activated layers of the vector networks.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer
