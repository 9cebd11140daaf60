"""What DBSE does alike for video, audio and series: codes without randomness, new codes, the weights of an epoch."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffsda.baselines.dbse import annealing
from diffsda.baselines.dbse.posterior import Posterior
from diffsda.baselines.dbse.settings import DBSESettings
from diffsda.baselines.draws import Draws, alike, fresh
from diffsda.baselines.lstm_prior import LSTMPrior
from diffsda.baselines.system import System
from diffsda.errors import InputError
from diffsda.factors import Factors

_SLOT = 0x736C6F74
"""Seeds a slot of noise where codes are to be the same each time."""


class DBSE(System):
    """A sequential variational autoencoder whose static code comes from a single element of the sequence.

    Source: DBSE (Berman et al., 2024) and its released code.
    Differs: see ``as_published`` and ``slot`` in the settings; every slip of the released code is mended unless asked
    for.
    """

    name: ClassVar[str] = "dbse"
    masks: ClassVar[bool] = True
    prior: LSTMPrior
    settings: DBSESettings

    def __init__(self, settings: DBSESettings) -> None:
        super().__init__()
        self.settings = settings
        self.epoch: int | None = None
        """The epoch training is in, for weights that change with it; None gives them in full."""
        self.provenance: dict[str, Any] = {}

    @abstractmethod
    def posterior(self, x: Tensor, lengths: Tensor | None = None, *, draws: Draws | None = None) -> Posterior:
        """Return the Gaussians of the codes of clips; without ``draws`` the single element's slot holds zeros."""

    def encode(self, x: Tensor, lengths: Tensor | None = None, *, generator: torch.Generator | None = None) -> Factors:
        """Return the means of the codes: static (B, S), dynamic (B, V, D).

        Only a slot of noise (as published) makes them random; it is drawn from ``generator``.
        """
        return self.posterior(x, lengths, draws=self._slot_draws(fresh(generator))).means()

    def encode_again(self, x: Tensor, lengths: Tensor | None = None) -> Factors:
        """Return the means of the codes, the same each time: a slot of noise holds the same numbers for every clip.

        Differs: as published it is drawn anew at every use, so that codes of a clip are never the same twice.
        """
        return self.posterior(x, lengths, draws=self._slot_draws(alike(_SLOT))).means()

    def sample_static(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return new static codes (N, S) from N(0, I)."""
        return self._new_static(count, fresh(generator))

    def sample_dynamic(self, count: int, frames: int, generator: torch.Generator | None = None) -> Tensor:
        """Return new dynamic codes (N, V, D) of any length: the prior's means along a free run on its own samples.

        Source: the released evaluation.
        """
        return self._new_dynamic(count, frames, fresh(generator))

    @torch.no_grad()
    def with_new_static(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        draws: Draws | None = None,
    ) -> Tensor:
        """Return clips with their own dynamics and new static codes.

        Draws: the slot where it is noise, then ``prior_s`` (B, S).
        """
        draws = draws or fresh(generator)
        f = self.posterior(x, lengths, draws=self._slot_draws(draws)).means()
        return self.decode(Factors(self._new_static(len(x), draws), f.dynamic))

    @torch.no_grad()
    def with_new_dynamics(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        draws: Draws | None = None,
    ) -> Tensor:
        """Return clips with their own static codes and new dynamics.

        Draws: the slot where it is noise, then ``roll`` (B, V, D).
        """
        draws = draws or fresh(generator)
        f = self.posterior(x, lengths, draws=self._slot_draws(draws)).means()
        return self.decode(Factors(f.static, self._new_dynamic(len(x), f.frames, draws)))

    def divergence_weights(self) -> tuple[float, float]:
        """Return the weights of the static and the dynamic divergence in this epoch."""
        settings = self.settings
        period = getattr(settings, "annealing", 0)
        if not period or self.epoch is None:
            return settings.weight_static, settings.weight_dynamic
        return annealing.weights(
            settings.weight_static,
            settings.weight_dynamic,
            self.epoch,
            period,
            as_published=settings.as_published,
        )

    def _weights(self) -> dict[str, float]:
        static, dynamic = self.divergence_weights()
        settings = self.settings
        return {
            "sequence": settings.weight_sequence,
            "single": settings.weight_single,
            "static_divergence": static,
            "dynamic_divergence": dynamic,
        }

    def _slot_draws(self, draws: Draws) -> Draws | None:
        """Return where the slot's noise comes from outside training, or None for zeros."""
        return draws if self.settings.noisy_slot else None

    def _loss_slot_draws(self, draws: Draws) -> Draws | None:
        return draws if self.training else self._slot_draws(draws)

    def _new_static(self, count: int, draws: Draws) -> Tensor:
        return draws("prior_s", (count, self.settings.static), self._like())

    def _new_dynamic(self, count: int, frames: int, draws: Draws) -> Tensor:
        eps = draws("roll", (count, frames, self.settings.dynamic), self._like())
        return self.prior.roll_out(count, frames, eps).steps.mean

    def _check_codes(self, f: Factors) -> None:
        """Refuse codes of other widths."""
        given, wanted = (f.static.shape[-1], f.dynamic.shape[-1]), (self.settings.static, self.settings.dynamic)
        if given != wanted:
            raise InputError(
                f"factors: got widths S {given[0]} and D {given[1]}, expected S {wanted[0]} and D {wanted[1]}"
            )

    def _like(self) -> Tensor:
        return self.prior.head.mean.weight
