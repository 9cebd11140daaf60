"""What all systems share: take clips apart, put them together, the named terms of their loss, new codes, swaps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from diffsda.errors import InputError
from diffsda.factors import Factors


@dataclass(frozen=True)
class Terms:
    """A loss by its named terms, each a scalar before its weight, and the weights.

    ``total`` is the weighted sum, what is trained on.
    """

    terms: Mapping[str, Tensor]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if set(self.terms) != set(self.weights):
            raise InputError(
                f"loss: got terms {sorted(self.terms)} and weights {sorted(self.weights)}, expected the same"
            )

    @property
    def total(self) -> Tensor:
        """The weighted sum, a scalar."""
        return torch.stack([self.weights[name] * term for name, term in self.terms.items()]).sum()

    def to_dict(self) -> dict[str, float]:
        """Return plain numbers, fit for a log."""
        return {name: float(term.detach()) for name, term in self.terms.items()} | {"loss": float(self.total.detach())}


class System(ABC, nn.Module):
    """A sequential disentanglement system.

    Clips are (B, V, C, H, W) for video and (B, V, F) for audio and series. A system says what it cannot do in
    ``cannot``: task -> why.
    """

    name: ClassVar[str]
    cannot: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Factors:
        """Return the factors of clips, without randomness: static (B, S), dynamic (B, V, D)."""

    @abstractmethod
    def decode(self, f: Factors, noise: Tensor | None = None, steps: int | None = None, seed: int = 0) -> Tensor:
        """Return clips with these factors; noise, steps and seed are for systems that sample."""

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
