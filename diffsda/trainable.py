"""What a system that can be trained has besides its verbs: a loss, and the random numbers of a step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from diffsda.disentangler import Disentangler
from diffsda.terms import Terms


class StepDraws(Protocol):
    """The random numbers of a whole training step."""

    def rows(self, rows: slice) -> tuple[Tensor, ...]:
        """Return those of some of the clips, as ``forward`` takes them."""
        ...


class Trainable(Disentangler, nn.Module):
    """A system as a module that the training loop can drive: DiffSDA, or one of the others."""

    @abstractmethod
    def training_draws(self, shape: Sequence[int], seed: int, device: torch.device) -> StepDraws:
        """Draw the random numbers of a step for a whole batch of clips (B, V, ...), from the seed alone."""

    @abstractmethod
    def forward(
        self,
        x: Any,
        *draws: Tensor,
        mask: Any = None,
        lengths: Any = None,
        count: float | Tensor | None = None,
    ) -> Tensor:
        """Compute the training loss, a scalar, so that data-parallel wrappers see one entry.

        Shapes: x (B, V, ...), mask like x (1 = missing), lengths (B,). ``count`` is how many values the whole batch's
        loss is the mean over, for losses that are means over values.
        Raises: InputError for shapes that do not belong together.
        """

    @abstractmethod
    def terms(
        self, x: Any, lengths: Any = None, mask: Any = None, *, generator: torch.Generator | None = None
    ) -> Terms:
        """Return the training loss by its named terms.

        Shapes: as in ``forward``.
        """

    def named_terms(self) -> dict[str, Tensor]:
        """Return the terms of the last training loss, detached, for the log; none where the loss is a single one."""
        return {}

    def begin_epoch(self, epoch: int) -> None:
        """Take note of the epoch training is in, from 0, for weights that change with it."""

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch dropout off and hold statistics of norms still for a while: ``with model.evaluating(): ...``."""
        was = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was)
