"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Average:
    """Keep a moving average of a model's parameters, and of the running statistics of batch norms beside them.

    Statistics belong to the weights they were measured with, so those of averaged weights are averaged alike. All
    other buffers are taken as they are.
    The decay starts low and rises to its value, so that the first steps are forgotten: min(decay,
    (1 + n) / (10 + n)) at update n.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {k: p.detach().clone() for k, p in model.named_parameters()}
        self.norms = {k: held.clone() for k, held in _statistics(model)}

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
        self.follow_norms(model)

    @torch.no_grad()
    def follow_norms(self, model: nn.Module) -> None:
        """Move the averages of norms' statistics as far as the last update moved those of the weights."""
        decay = min(self.decay, self.updates / (9 + self.updates))
        for name, held in _statistics(model):
            self.norms[name].lerp_(held, 1 - decay)

    @property
    def held(self) -> dict[str, Tensor]:
        """All averages by name."""
        return {**self.weights, **self.norms}

    def state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """Return a full state dict with all averages."""
        return {**model.state_dict(), **self.held}


def _statistics(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the running statistics of batch norms by name."""
    for place, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            for name in ("running_mean", "running_var"):
                held = getattr(module, name)
                if held is not None:
                    yield f"{place}.{name}" if place else name, held
