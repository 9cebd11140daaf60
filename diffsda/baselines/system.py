"""What all systems share: take clips apart, put them together, the named terms of their loss, new codes, swaps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from diffsda.disentangler import Progress, Seed, StartNoise
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.terms import Terms

__all__ = ["System", "Terms"]


class System(ABC, nn.Module):
    """A sequential disentanglement system.

    Clips are (B, V, C, H, W) for video and (B, V, F) for audio and series. A system says what it cannot do in
    ``cannot``: task -> why.
    """

    name: ClassVar[str]
    cannot: ClassVar[Mapping[str, str]] = {}
    policy: ClassVar[StartNoise] = "fresh"
    """Where swaps start from in the system's own evaluation; nothing follows from it where nothing is drawn."""
    stochastic: ClassVar[bool] = False
    """Whether ``decode`` starts from noise like the clips, and ``invert`` finds it again."""
    frames_apart: ClassVar[bool] = True
    """Whether ``decode`` makes each frame from its own codes and noise alone."""
    masks: ClassVar[bool] = False
    """Whether ``loss`` takes a mask of missing values."""
    epoch: int | None = None
    """The epoch training is in, from 0; None has everything that grows with it behind."""

    @property
    def unit_range(self) -> bool:
        """Whether the network works on values from 0 to 1."""
        return False

    @abstractmethod
    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Factors:
        """Return the factors of clips, without randomness: static (B, S), dynamic (B, V, D)."""

    def encode_again(self, x: Tensor, lengths: Tensor | None = None) -> Factors:
        """Return the factors of clips as ``encode``, the same each time and whatever clips are beside them."""
        return self.encode(x, lengths)

    @abstractmethod
    def decode(self, f: Factors, noise: Tensor | None = None, steps: int | None = None, seed: Seed = 0) -> Tensor:
        """Return clips with these factors; noise, steps and seed are for systems that sample."""

    def invert(
        self,
        x: Tensor,
        f: Factors,
        steps: int | None = None,
        *,
        lengths: Tensor | None = None,
        progress: Progress = iter,
    ) -> Tensor:
        """Return the noise that ``decode`` would make these clips from, for systems that are ``stochastic``."""
        raise self._refusal("invert")

    @abstractmethod
    def loss(self, x: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None) -> Terms:
        """Return the training loss by its terms."""

    def sample_static(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return new static codes (N, S).

        Raises: InputError where the system has no prior over them.
        """
        raise self._refusal("sample_static")

    def sample_dynamic(self, count: int, frames: int, generator: torch.Generator | None = None) -> Tensor:
        """Return new dynamic codes (N, V, D).

        Raises: InputError where the system has no prior over them.
        """
        raise self._refusal("sample_dynamic")

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch dropout off and statistics of norms still for a while: ``with system.evaluating(): ...``."""
        was = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, lengths: Tensor | None = None, **how: Any) -> Tensor:
        """Take clips apart and put them together again."""
        with self.evaluating():
            return self.decode(self.encode(x, lengths), **how)

    @torch.no_grad()
    def swap(
        self,
        x_static: Tensor,
        x_dynamic: Tensor,
        *,
        lengths_static: Tensor | None = None,
        lengths_dynamic: Tensor | None = None,
        **how: Any,
    ) -> Tensor:
        """Return clips with the static code of some and the dynamic codes of others, as many of each.

        Raises: InputError for batches of different sizes.
        """
        if len(x_static) != len(x_dynamic):
            raise InputError(
                f"swap: got {len(x_static)} static and {len(x_dynamic)} dynamic donors, expected as many of each"
            )
        with self.evaluating():
            giver, taker = self.encode(x_static, lengths_static), self.encode(x_dynamic, lengths_dynamic)
            return self.decode(giver.swap(dynamic_from=taker), **how)

    def _refusal(self, task: str) -> InputError:
        why = self.cannot.get(task, "it has none")
        return InputError(f"{self.name}: cannot {task.replace('_', ' ')}: {why}")
