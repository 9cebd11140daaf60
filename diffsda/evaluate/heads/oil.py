"""How warm is the oil? A network a time step on d and s, averaged over windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from diffsda.errors import InputError
from diffsda.evaluate.codes import Codes
from diffsda.evaluate.heads.fitting import fit, seeded, tensor
from diffsda.evaluate.lengths import Array, Floats, Ints, mask, valid

WINDOW = 10
"""Hours the authors average over; DBSE's windows are days of 24."""
PASSES, BATCH, LR = 301, 10, 1e-3


@dataclass(frozen=True, eq=False)
class Windows:
    """What is known of values in windows of a clip.

    Shapes: weight (N, V), 1 where a value is known; mean (N, W), NaN in windows without one.
    """

    size: int
    weight: Floats
    mean: Floats


class OilHead(nn.Module):
    """A value a window (B, W) from the factors a frame (B, V, D + S) and what counts (B, V).

    Source: the authors' code: batch normalisation, layers of 32 and 8, the mean over a window.
    Differs: without a leaky unit at the end, which presses what is below zero to a hundredth, unless ``as_published``.
    """

    def __init__(self, features: int, size: int, *, as_published: bool = False) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.BatchNorm1d(features)
        layers = [nn.Linear(features, 32), nn.LeakyReLU(), nn.Linear(32, 8), nn.LeakyReLU(), nn.Linear(8, 1)]
        self.out = nn.Sequential(*layers, *([nn.LeakyReLU()] if as_published else []))

    def forward(self, factors: Tensor, weight: Tensor) -> Tensor:
        B, V, _ = factors.shape
        values = self.out(self.norm(factors.flatten(0, 1))).view(B, V)
        total, count = (_in_windows(part, self.size).sum(2) for part in (values * weight, weight))
        return total / count.clamp(min=1)


def windows(values: Array, lengths: Ints | None = None, size: int = WINDOW) -> Windows:
    """Average values over windows of ``size`` frames, the last one of what is left.

    Shapes: values (N, V), NaN where not known; lengths (N,).
    Raises: InputError if the shapes do not fit or the size is below 1.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or size < 1:
        raise InputError(f"windows: got values {values.shape} and windows of {size}, expected (N, V) and at least 1")
    known = ~np.isnan(values) & mask(valid(lengths, *values.shape), values.shape[1])
    weight = known.astype(np.float64)
    total, count = (
        _in_windows(torch.from_numpy(part), size).sum(2).numpy() for part in (np.where(known, values, 0.0), weight)
    )
    with np.errstate(invalid="ignore"):
        return Windows(size, weight, np.where(count > 0, total / np.maximum(count, 1), np.nan))


def oil_temperatures(
    known: Codes,
    truth: Windows,
    asked: Codes,
    asked_windows: Windows,
    *,
    as_published: bool = False,
    seed: int = 0,
    passes: int = PASSES,
) -> Floats:
    """Fit a head on some clips and return the values (M, W) it gives the windows of others.

    ``asked_windows`` says which hours of the others count, its means are not looked at. The L1 loss is over windows
    that have a value; the last pass's weights are kept.
    as_published: labels are collected in one order and paired with inputs in another, new in each pass: what is
    learned is close to a constant; and a leaky unit ends the head.
    Raises: InputError if no window has a value; TrainingError if the loss is not finite.
    """
    if np.isnan(truth.mean).all():
        raise InputError("oil temperature: got no window with a value to learn from, expected at least one")
    with seeded(seed):
        x, weight = _features(known), tensor(truth.weight)
        head = OilHead(x.shape[2], truth.size, as_published=as_published)
        target, counts = tensor(np.nan_to_num(truth.mean)), torch.from_numpy(~np.isnan(truth.mean))
        orders = [torch.randperm(len(x)) if as_published else torch.arange(len(x)) for _ in range(passes)]

        def loss(head: OilHead, chosen: Tensor, number: int) -> Tensor:
            labels = orders[number][chosen]
            gap = (head(x[chosen], weight[chosen]) - target[labels]).abs()
            return (gap * counts[labels]).sum() / counts[labels].sum().clamp(min=1)

        fit(head, loss, len(x), passes=passes, batch=BATCH, lr=LR)
        with torch.no_grad():
            return head(_features(asked), tensor(asked_windows.weight)).double().numpy()


def _features(codes: Codes) -> Tensor:
    frames = codes.dynamic.shape[1]
    static = np.repeat(codes.static[:, None], frames, 1)
    return tensor(np.concatenate([codes.dynamic, static], 2))


def _in_windows(values: Tensor, size: int) -> Tensor:
    """Return (N, V) as (N, W, size), filled up with 0."""
    lacking = -values.shape[1] % size
    return nn.functional.pad(values, (0, lacking)).unflatten(1, (-1, size))
