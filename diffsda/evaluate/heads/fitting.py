"""Train a small network on rows of frozen factors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffsda.errors import InputError, TrainingError
from diffsda.evaluate.lengths import Array, Ints

Loss = Callable[[Any, Tensor, int], Tensor]
"""The loss of a head on some rows (long tensor) in a pass over them, counted from 0."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from a seed within, and leave those outside as they were."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        yield


def fit(
    head: nn.Module,
    loss: Loss,
    rows: int,
    *,
    passes: int,
    batch: int,
    lr: float,
    clip: float | None = None,
    worth: Callable[[Any], float] | None = None,
    every: int = 1,
) -> None:
    """Train a head with Adam on rows in a new order each pass; leave it in evaluation mode.

    clip: the largest norm of the gradient. worth: how good the head is, looked at after ``every`` passes; the weights
    of the best look are kept, the first of equal ones. Without it the last ones are.
    Raises: TrainingError if the loss is not finite.
    """
    optimiser = torch.optim.Adam(head.parameters(), lr=lr)
    best, kept = -np.inf, copy.deepcopy(head.state_dict())
    for number in range(passes):
        head.train()
        for chosen in torch.randperm(rows).split(batch):
            value = loss(head, chosen, number)
            if not torch.isfinite(value):
                raise TrainingError(f"head: the loss is {value.item()} in pass {number + 1}; are the factors huge?")
            optimiser.zero_grad()
            value.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(head.parameters(), clip)
            optimiser.step()
        if worth is not None and (number + 1) % every == 0:
            head.eval()
            with torch.no_grad():
                found = worth(head)
            if found > best:
                best, kept = found, copy.deepcopy(head.state_dict())
    if worth is not None:
        head.load_state_dict(kept)
    head.eval()


def hold_out(labels: Array, share: float, seed: int) -> tuple[Ints, Ints]:
    """Return rows to fit on and rows to choose the best head by, with that share of every label among the latter.

    Shapes: labels (N,). A label of one item is fitted on only.
    Raises: InputError if nothing can be held out.
    """
    draw = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for value in np.unique(labels):
        ours = draw.permutation(np.flatnonzero(labels == value))
        held[ours[: min(max(round(share * len(ours)), 1), len(ours) - 1)]] = True
    if not held.any():
        raise InputError(f"hold out: got {len(labels)} items with no two of a label, expected two at least")
    return np.flatnonzero(~held), np.flatnonzero(held)


def tensor(values: Array) -> Tensor:
    """Return an array of numbers as float32."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
