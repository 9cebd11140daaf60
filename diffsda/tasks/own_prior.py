"""What draws new factors: a prior that was fitted to them, or the one a system has of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from diffsda.disentangler import Disentangler, Seed
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Rule
from diffsda.tasks.batches import Track, silent
from diffsda.tasks.traverse import POOL

OWN = "own"
"""What a system's own prior is called where others have digests."""


OWN_POOL = 2**11
"""Samples of a system's own prior that components are found in: it draws one after the other."""


class FactorPrior(Protocol):
    """Draws factors of clips: a ``LatentPrior``, or an ``OwnPrior``."""

    @property
    def sizes(self) -> Sizes:
        """Widths of the factors, and over how many frames."""
        ...

    def sample(
        self, count: int, seed: Seed, *, steps: int | None = None, rule: Rule | None = None, track: Track = silent
    ) -> Factors:
        """Return factors of N clips: static (N, S), dynamic (N, V, D); clip i draws from seed + i, or its own seed."""
        ...


@dataclass(frozen=True)
class OwnPrior:
    """The prior a system was trained with, over clips of V = ``frames`` frames."""

    model: Disentangler
    frames: int

    @property
    def sizes(self) -> Sizes:
        """Widths of the factors, and over how many frames."""
        recipe = self.model.recipe
        return Sizes(static=recipe.static, dynamic=recipe.dynamic, frames=self.frames)

    def sample(
        self, count: int, seed: Seed, *, steps: int | None = None, rule: Rule | None = None, track: Track = silent
    ) -> Factors:
        """Return factors of N clips.

        Raises: InputError for steps or a rule, which it does not have, and where the system has no prior.
        """
        for name, value in (("prior-steps", steps), ("rule", rule)):
            if value is not None:
                raise InputError(
                    f"--{name}: got {value} for {self.model.recipe.system}'s own prior, expected it to be left out: "
                    "its factors are drawn at once"
                )
        with torch.no_grad():
            static = self.model.sample_static(count, seed)
            return Factors(static, self.model.sample_dynamic(count, self.frames, seed))


def called(prior: FactorPrior) -> str:
    """Return the digest of a fitted prior's recipe, or what a system's own is called."""
    return prior.recipe.digest if isinstance(prior, LatentPrior) else OWN


def pool_size(prior: FactorPrior, asked: int | None) -> int:
    """Return how many samples to find components in, where nobody chose."""
    if asked is not None:
        return asked
    return OWN_POOL if isinstance(prior, OwnPrior) else POOL
