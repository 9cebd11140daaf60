"""One training step as the authors' code executes it, host round trips included."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.bench.published.model import Published
from diffsda.errors import TrainingError


def optimiser(model: Published) -> torch.optim.AdamW:
    """Make AdamW over all parameters; those of the never-run attention get no gradient and stay as drawn."""
    settings = model.recipe.optim
    return torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)


def step(
    model: Published,
    adamw: torch.optim.AdamW,
    x: Tensor,
    mask: Tensor | None = None,
    noise: tuple[Tensor, Tensor] | None = None,
) -> tuple[float, Tensor]:
    """Run one step on clips x (B, V, ...) and return the loss and the gradient norm before clipping.

    The loss is copied to the host twice and checked for NaN on the host: three waits for the device.
    Source: the authors' code.
    Raises: TrainingError when the loss is not a number.
    """
    adamw.zero_grad()
    loss = model(x, mask, noise)
    logged = loss.detach().cpu().item()
    if torch.isnan(loss).any():
        raise TrainingError(f"loss: got {logged}, expected a number; lower the learning rate")
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), model.recipe.optim.clip)
    adamw.step()
    total = loss.item()  # their running total reads the loss once more
    return total, norm
