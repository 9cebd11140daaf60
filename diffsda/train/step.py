"""One optimiser step: draw noise, forward, backward, clip, update."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from diffsda.edm.draws import Draws
from diffsda.edm.draws import draw as drawn
from diffsda.errors import InputError
from diffsda.kernels.dropout import DropoutState, attach
from diffsda.recipe import AnyRecipe, Recipe
from diffsda.train.data import Batch, Ready
from diffsda.train.guard import Guard
from diffsda.train.optim import FusedAdamW
from diffsda.train.order import seed_for
from diffsda.train.parallel import Processes
from diffsda.trainable import Trainable

# Dropout comes last: it takes one stream a process.
NOISE_STREAM, WINDOW_STREAM, DROPOUT_STREAM = 0, 1, 2


def draw(recipe: Recipe, shape: torch.Size, step: int, device: torch.device) -> Draws:
    """Draw a step's noise for DiffSDA from the run's seed and the step alone, as its ``training_draws`` does.

    Shapes: shape is that of the whole batch (B, V, ...).
    """
    return drawn(recipe.noise, recipe.optim.draws, shape, seed_of(recipe, step), device)


def seed_of(recipe: AnyRecipe, step: int) -> int:
    """Return the seed of a step's random numbers."""
    return seed_for(recipe.optim.seed, step, NOISE_STREAM)


def parts(recipe: AnyRecipe, processes: Processes) -> list[slice]:
    """Return the rows of the batch this process works through, one slice a part.

    Raises: InputError if the batch does not divide over processes and parts.
    """
    batch, accumulate, world = recipe.optim.batch, recipe.optim.accumulate, processes.world
    if batch % (world * accumulate):
        raise InputError(
            f"optim.batch: got {batch} clips for {world} processes and {accumulate} parts, expected a multiple "
            f"of {world * accumulate}"
        )
    share, size = batch // world, batch // (world * accumulate)
    start = processes.rank * share
    return [slice(start + i * size, start + (i + 1) * size) for i in range(accumulate)]


class TrainStep:
    """Do one optimiser step on a batch that is given whole, whatever part of it is this process's.

    ``work`` is the part of it that a CUDA graph can hold. With ``FusedAdamW`` clipping, update and average are one
    operation.
    Precision: ``bf16`` runs the network under autocast; weights, noise tables and loss stay float32.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: AnyRecipe,
        processes: Processes,
        *,
        bf16: bool = False,
        guard: Guard | None = None,
    ) -> None:
        self.model, self.optimizer, self.recipe, self.processes = model, optimizer, recipe, processes
        inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        self.system = cast(Trainable, inner)
        self.guard = guard
        self.parts = parts(recipe, processes)
        self.bf16 = bf16
        self.parameters = list(model.parameters())
        self._seed = seed_for(recipe.optim.seed, 0, DROPOUT_STREAM + processes.rank)
        self._dropout, self._place = DropoutState(self._seed, processes.device), 0
        attach(model, self._dropout)

    def __call__(self, batch: Batch | Ready, step: int, rate: float) -> tuple[Tensor, Tensor]:
        """Update the weights; return the loss over this process's clips and the gradient norm, on the device.

        Nothing here makes the host wait for the device. ``guard``, if there is one, takes note of the step.
        Shapes: batch.x is the whole batch (B, V, ...), B = ``recipe.optim.batch``. The returned loss is scaled
        so that its mean over processes is the loss of the whole batch.
        """
        ready = batch if isinstance(batch, Ready) else Ready.of(batch, self.parts, self.processes.device)
        noises = self.begin(ready, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        return self.work(ready.parts, noises, self.count(ready), step)

    def begin(self, ready: Ready, step: int) -> list[tuple[Tensor, ...]]:
        """Go to a step's place in all random streams; return its random numbers, a part each."""
        draws = self.system.training_draws(ready.shape, seed_of(self.recipe, step), self.processes.device)
        # Dropout must differ between processes and repeat on resume; this is the references' part of it.
        torch.manual_seed(seed_for(self.recipe.optim.seed, step, DROPOUT_STREAM + self.processes.rank))
        if self._place != step * len(self.parts):
            self._place = step * len(self.parts)
            self._dropout.seek(self._seed, self._place)
        return [draws.rows(rows) for rows in self.parts]

    def count(self, ready: Ready) -> float:
        """Return how many values this process's loss is the mean over."""
        return self.recipe.optim.draws * ready.elements / self.processes.world

    def work(
        self,
        given: Sequence[Batch],
        noises: Sequence[tuple[Tensor, ...]],
        count: float | Tensor,
        step: int | Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Do what a step does on the device: every part forward and backward, then the update."""
        total = torch.zeros((), device=self.processes.device)
        place, self._place = self._place, -1  # Unknown, should a part fail.
        for i, (part, noise) in enumerate(zip(given, noises)):
            # Our kernels' dropout moves on by one place a part.
            self._dropout.advance()
            with self._reduce_if(i == len(given) - 1):
                with self._autocast():
                    loss = self.model(part.x, *noise, mask=part.mask, lengths=part.lengths, count=count)
                loss.backward()
            total += loss.detach()
        self._place = place
        self.passed()
        norm = self._update()
        if self.guard is not None:
            self.guard.note(step, total, norm)
        return total, norm

    def passed(self) -> None:
        """Count a step's places in our kernels' dropout as gone through."""
        self._place += len(self.parts)

    def _update(self) -> Tensor:
        """Clip and update; return the gradient norm."""
        clip = self.recipe.optim.clip
        if isinstance(self.optimizer, FusedAdamW):
            return self.optimizer.update(clip)
        norm = nn.utils.clip_grad_norm_(self.parameters, clip)
        self.optimizer.step()
        return norm

    @contextlib.contextmanager
    def _reduce_if(self, last: bool) -> Iterator[None]:
        """Exchange gradients once a step, with the last part."""
        if last or not isinstance(self.model, nn.parallel.DistributedDataParallel):
            yield
        else:
            with self.model.no_sync():
                yield

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.bf16)
