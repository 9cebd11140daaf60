"""Notice a loss that is not finite, without waiting for the device at every step."""

from __future__ import annotations

import torch
from torch import Tensor

_NEVER = 2**62


class Guard:
    """Remember on the device the first step whose loss or gradient norm was not finite."""

    def __init__(self, device: torch.device, every: int | None = None) -> None:
        self.first = torch.full((), _NEVER, dtype=torch.int64, device=device)
        # Looking is free on the CPU; on a device it makes the host wait.
        self.every = every or (1 if device.type == "cpu" else 50)

    def note(self, step: int | Tensor, loss: Tensor, norm: Tensor) -> None:
        """Take note of a step; its number may be a tensor, which a captured graph reads anew."""
        # Neither is ever negative: their sum is finite where both are.
        bad = torch.where(torch.isfinite(loss + norm), _NEVER, step)
        self.first.copy_(torch.minimum(self.first, bad))

    def bad_step(self) -> int | None:
        """Return the first bad step so far, or None; this waits for the device."""
        first = int(self.first)
        return None if first == _NEVER else first
