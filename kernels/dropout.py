"""Where the kernels' dropout gets its randomness: two numbers on the device.

A kernel drops an element by a counter-based generator (Philox 4x32, 7 rounds) keyed by ``seed`` with the counter
(element, site, offset). Nothing is stored but ``(seed, offset)``, two int64 on the device that every kernel reads
when it runs: a captured graph replayed after ``advance`` drops other elements, the backward pass and a recomputed
forward drop the same ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BITS = 16
"""Bits of randomness an element gets: probabilities are rounded to multiples of 1 / 65536."""


def threshold(dropout: float) -> int:
    """Return how many of the 65536 values drop an element."""
    return round(dropout * 2**BITS)


def kept_scale(dropout: float) -> float:
    """Return what survivors are multiplied by, 1 / (1 - p) for the rounded p."""
    return 2**BITS / (2**BITS - threshold(dropout))


def draw_state(device: torch.device) -> Tensor:
    """Return a fresh (seed, offset) from torch's own generator of the device, so that seeds and graphs work."""
    return torch.randint(2**62, (2,), dtype=torch.int64, device=device)


class DropoutState:
    """The (seed, offset) of a training run, shared by all sites of a model."""

    def __init__(self, seed: int, device: torch.device | str) -> None:
        self.tensor = torch.tensor([seed, 0], dtype=torch.int64, device=device)

    def advance(self) -> None:
        """Go on to the next step, on the device: inside a captured graph every replay advances."""
        self.tensor[1].add_(1)

    def seek(self, seed: int, offset: int) -> None:
        """Set the place in the stream, as after a resume; ranks get different seeds."""
        self.tensor.copy_(torch.tensor([seed, offset], dtype=torch.int64), non_blocking=True)


def attach(model: nn.Module, state: DropoutState | None) -> int:
    """Give every module with a ``dropout_site`` its own number and the common state; return how many there are.

    ``state`` None detaches: each call then draws a state of its own from torch's generator.
    """
    sites = [m for m in model.modules() if hasattr(m, "dropout_site")]
    for number, module in enumerate(sites):
        module.dropout_site = number  # type: ignore[assignment]
        module.dropout_state = None if state is None else state.tensor  # type: ignore[assignment]
    return len(sites)
