"""How a sequence judge is trained: settings, batches that are shaken a little, and when to stop."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import UNKNOWN
from diffsda.evaluate.judges.network import SequenceNetwork

AT_ONCE = 64
"""Clips read at a time."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Size and training of a sequence judge; every field is part of a trained judge's key."""

    channels: int = 16
    features: int = 128
    hidden: int = 64
    batch: int = 32
    updates: int = 1200
    """Most updates."""
    rate: float = 4e-3
    """Highest learning rate: reached after a fifth of the updates, then down to 0."""
    held_out: float = 0.1
    """Share of the clips kept aside, to stop by and to report."""
    checks: int = 12
    """Times the clips kept aside are read."""
    patience: int = 4
    """Checks without a lower loss after which training stops."""
    shift: float = 1 / 32
    """Pictures are moved by up to that share of their side, in half of the batches."""
    noise: float = 0.03
    """Noise that is added, in standard deviations."""
    blur: float = 0.3
    """Share of the batches of pictures that are blurred by some amount: generated frames are softer than real ones."""

    def __post_init__(self) -> None:
        whole = ("channels", "features", "hidden", "batch", "updates", "checks", "patience")
        for name in whole:
            if getattr(self, name) < 1:
                raise InputError(f"reader, {name}: got {getattr(self, name)}, expected 1 at least")
        if self.batch < 2:
            raise InputError("reader, batch: got 1, expected 2 at least: frames are normalised over a batch")
        if not 0 < self.held_out < 1:
            raise InputError(f"reader, held_out: got {self.held_out}, expected a share between 0 and 1")


@dataclass(frozen=True)
class Batchable:
    """Clips (N, V, ...), their lengths (N,), and labels by factor (N,), -1 where unknown."""

    x: Tensor
    lengths: Tensor
    labels: Mapping[str, Tensor]

    def rows(self, rows: Tensor) -> Batchable:
        """Return some of the clips."""
        return Batchable(self.x[rows], self.lengths[rows], {name: y[rows] for name, y in self.labels.items()})


def train(network: SequenceNetwork, fit: Batchable, held: Batchable, settings: Settings) -> None:
    """Train a network by Adam and leave it with the weights that did best on the clips kept aside.

    Draws come from torch's own generator: seed it before.
    Raises: InputError if the loss is not finite.
    """
    batch = min(settings.batch, len(fit.x))
    device = network.mean.device
    optimiser = torch.optim.Adam(network.parameters(), settings.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: _course((i + 1) / settings.updates))
    every = max(1, math.ceil(settings.updates / settings.checks))
    best, best_loss, waited = copy.deepcopy(network.state_dict()), math.inf, 0
    network.train()
    for update, rows in enumerate(_draws(len(fit.x), batch), start=1):
        given = fit.rows(rows)
        x = shaken(given.x.to(device), network, settings)
        loss = objective(network, Batchable(x, given.lengths.to(device), given.labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if update % every and update < settings.updates:
            continue
        now = held_loss(network, held)
        if not math.isfinite(now):
            raise InputError("reader: its loss is not finite, expected clips of ordinary size; lower `rate`")
        waited = 0 if now < best_loss else waited + 1
        if now < best_loss:
            best, best_loss = copy.deepcopy(network.state_dict()), now
        if waited >= settings.patience or update >= settings.updates:
            break
    network.load_state_dict(best)
    network.eval()


def objective(network: SequenceNetwork, given: Batchable) -> Tensor:
    """Return the sum over labels of the cross entropies of known ones, of clips and of single frames."""
    whole, single = network(given.x, given.lengths)
    loss = torch.zeros((), device=given.x.device)
    for name, logits in whole.items():
        loss = loss + _entropy(logits, given.labels[name].to(given.x.device))
    for name, logits in single.items():
        loss = loss + _entropy(logits, given.labels[name].to(given.x.device).repeat_interleave(given.lengths))
    return loss


def _entropy(logits: Tensor, labels: Tensor) -> Tensor:
    # A batch without a known label would have a mean over nothing.
    if not bool((labels != UNKNOWN).any()):
        return logits.sum() * 0
    return functional.cross_entropy(logits, labels, ignore_index=UNKNOWN)


@torch.no_grad()
def held_loss(network: SequenceNetwork, held: Batchable) -> float:
    """Return the loss on the clips kept aside, a clip a weight."""
    network.eval()
    device, total = network.mean.device, 0.0
    for start in range(0, len(held.x), AT_ONCE):
        given = held.rows(torch.arange(start, min(start + AT_ONCE, len(held.x))))
        given = Batchable(given.x.to(device), given.lengths.to(device), given.labels)
        total += float(objective(network, given)) * len(given.x)
    network.train()
    return total / len(held.x)


def shaken(x: Tensor, network: SequenceNetwork, settings: Settings) -> Tensor:
    """Move, blur and disturb a batch of clips a little, all clips alike; vectors are only disturbed."""
    if x.ndim == 5:
        reach = round(settings.shift * min(x.shape[3:]))
        if reach and torch.rand(()) < 0.5:
            down, right = (int(v) for v in torch.randint(-reach, reach + 1, (2,)))
            x = moved(x, down, right)
        if torch.rand(()) < settings.blur:
            share = float(torch.rand(()))
            flat = functional.pad(x.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
            x = torch.lerp(x, functional.avg_pool2d(flat, 3, 1).view_as(x), share)
    noise = torch.randn(x.shape).to(x.device)  # drawn on the host: the same on every device
    return x + settings.noise * network.std * noise


def moved(x: Tensor, down: int, right: int) -> Tensor:
    """Move pictures (N, V, C, H, W) by whole pixels; the border is repeated where nothing was."""
    reach = max(abs(down), abs(right))
    if not reach:
        return x
    high, wide = x.shape[3:]
    wider = functional.pad(x.flatten(0, 1), (reach,) * 4, mode="replicate")
    return wider[..., reach - down : reach - down + high, reach - right : reach - right + wide].view(x.shape)


def _course(share: float) -> float:
    """Return the learning rate, as a share of the highest, after a share of the updates."""
    warm = 0.2
    if share < warm:
        return 0.04 + 0.96 * share / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warm) / (1 - warm))))


def _draws(clips: int, batch: int) -> Iterator[Tensor]:
    """Yield rows, every clip once before any twice, without the odd ones at the end of a round."""
    while True:
        order = torch.randperm(clips)
        for start in range(0, clips - batch + 1, batch):
            yield order[start : start + batch]
