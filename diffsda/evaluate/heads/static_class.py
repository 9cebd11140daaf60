"""Which class is a clip of? A small network on s."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from diffsda.evaluate.codes import Codes
from diffsda.evaluate.heads.fitting import fit, hold_out, seeded, tensor
from diffsda.evaluate.lengths import Array

PASSES, BATCH, LR = 205, 30, 1e-3
"""PhysioNet's passes and batch; the rate of DBSE's heads."""
STEPS = 80
"""Steps a pass may take, PhysioNet's number: larger sets are dealt with in larger batches, unless as published."""
HELD_OUT = 0.15
"""Share of the clips by whose loss the best epoch is chosen."""
EPOCH = 5


@dataclass(frozen=True)
class Published:
    """How the authors' code fits the head on a set."""

    passes: int
    """Over the clips; five are an epoch."""
    batch: int
    runs: int


PUBLISHED = {
    "physionet": Published(passes=41 * EPOCH, batch=BATCH, runs=2),
    "airq": Published(passes=61 * EPOCH, batch=10, runs=2),
}
"""By the set's name, as ``diffsda prepare`` gives it."""


def published(data: str) -> Published:
    """Return how the authors' code fits the head on a set; on one that it does not know, as on PhysioNet."""
    return PUBLISHED.get(data, PUBLISHED["physionet"])


class StaticHead(nn.Module):
    """Logits (B, classes) from s (B, S).

    Source: the authors' code: two layers, the hidden one as wide as there are classes.
    """

    def __init__(self, static: int, classes: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(static, classes), nn.ReLU(), nn.Linear(classes, classes))

    def forward(self, static: Tensor) -> Tensor:
        return self.out(static)


def static_classes(
    known: Codes,
    labels: Array,
    asked: Codes,
    *,
    runs: int = 1,
    as_published: bool = False,
    seed: int = 0,
    passes: int = PASSES,
    batch: int | None = None,
    lr: float = LR,
) -> Iterator[Array]:
    """Fit a head on s of some clips and yield the labels (M,) it gives others, once a run.

    Shapes: labels (N,), for ``known``. The epoch of the lowest loss on some of the known clips, which are not trained
    on, is kept. Every run starts from new weights.
    batch: clips a step; left out, 30, more where a pass would take more than ``STEPS`` steps.
    as_published: a run goes on with the head of the one before, so that runs hardly differ; batches are of 30 clips
    unless ``batch`` says otherwise. Passes, batch and runs that go with a set: ``published``.
    Differs: the authors choose on their validation part.
    Raises: InputError if no label has two clips.
    """
    values, truth = np.unique(labels, return_inverse=True)
    s, y = tensor(known.static), torch.from_numpy(truth.reshape(-1))
    head: StaticHead | None = None
    for run in range(runs):
        places, look = hold_out(labels, HELD_OUT, seed + (0 if as_published else run))
        rows = torch.from_numpy(places)

        def loss(head: StaticHead, chosen: Tensor, number: int, rows: Tensor = rows) -> Tensor:
            return cross_entropy(head(s[rows[chosen]]), y[rows[chosen]])

        def worth(head: StaticHead, look: Array = look) -> float:
            return -cross_entropy(head(s[look]), y[look]).item()

        with seeded(seed + run):
            if head is None or not as_published:
                head = StaticHead(s.shape[1], len(values))
            own = BATCH if as_published else max(BATCH, math.ceil(len(rows) / STEPS))
            fit(head, loss, len(rows), passes=passes, batch=batch or own, lr=lr, worth=worth, every=EPOCH)
            with torch.no_grad():
                told = head(tensor(asked.static)).argmax(1).numpy()
        yield values[told]
