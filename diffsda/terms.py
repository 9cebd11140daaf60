"""A training loss by its named terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsda.errors import InputError


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
