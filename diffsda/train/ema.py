"""An exponential moving average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """Keep a moving average of a model's parameters; buffers are taken as they are.

    The decay starts low and rises to its value, so that the first steps are forgotten: min(decay,
    (1 + n) / (10 + n)) at update n.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {k: p.detach().clone() for k, p in model.named_parameters()}

    @property
    def next_decay(self) -> float:
        """What the next update keeps of the average."""
        return min(self.decay, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the current weights."""
        decay = self.next_decay
        current = [p.detach() for p in model.parameters()]
        torch._foreach_lerp_(list(self.weights.values()), current, 1 - decay)
        self.updates += 1

    def state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """Return a full state dict with averaged parameters."""
        return {**model.state_dict(), **self.weights}
