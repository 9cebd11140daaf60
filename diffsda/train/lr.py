"""Learning rate curves."""

from __future__ import annotations

import math

from diffsda.recipe import Optim


def authors_rate(lr: float, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch as the authors' code really sets it.

    lr, then 2 lr, then lr (1 + cos(pi (epoch - 2) / epochs)) / 2, which ends above 0.
    Source: the authors' warm-up around a cosine. Differs from the paper's constant rate: the warm-up doubles
    one epoch only, because the cosine behind it goes on from the current rate.
    """
    if epoch < 2:
        return lr * (1 + epoch)
    return lr * (1 + math.cos(math.pi * (epoch - 2) / epochs)) / 2


def rate(optim: Optim, step: int, *, steps: int, steps_per_epoch: int) -> float:
    """Return the learning rate of step ``step`` (from 0) of ``steps``."""
    if optim.schedule == "constant":
        return optim.lr * min(1.0, (step + 1) / optim.warmup) if optim.warmup else optim.lr
    if optim.schedule == "authors":
        epochs = math.ceil(steps / steps_per_epoch)
        return authors_rate(optim.lr, step // steps_per_epoch, epochs)
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    share = (step - optim.warmup) / max(1, steps - optim.warmup)
    return optim.lr * (1 + math.cos(math.pi * share)) / 2
