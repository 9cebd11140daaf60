"""SPYL as one system: encode, decode, its loss, new codes."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from diffsda import check
from diffsda.baselines.dbse.posterior import Posterior
from diffsda.baselines.dcgan import (
    FrameEncoder,
    TransposedDecoder,
    expect_frames,
    initialise_,
    real_frames_through,
)
from diffsda.baselines.draws import Draws, fresh
from diffsda.baselines.lstm_prior import LSTMPrior
from diffsda.baselines.missing import without_missing
from diffsda.baselines.spyl.loss import roll_out, spyl_loss
from diffsda.baselines.spyl.network import VectorDecoder, WholePosterior
from diffsda.baselines.spyl.settings import SPYLSettings
from diffsda.baselines.system import System, Terms
from diffsda.disentangler import Seed
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.nn.mlp import MLPFrameEncoder
from diffsda.nn.recurrent import valid


class SPYL(System):
    """A sequential variational autoencoder with contrast among codes of clips it generates itself.

    Clips are (B, V, C, H, H) with values from 0 to 1, or vectors (B, V, F) of any range.
    Source: SPYL (Naiman et al. 2023) and its released code. Differs: by setting, see ``SPYLSettings``.
    """

    name: ClassVar[str] = "spyl"
    masks: ClassVar[bool] = True

    def __init__(self, settings: SPYLSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or SPYLSettings()
        codes = settings.dynamic + settings.static
        if settings.kind == "video":
            sizes = settings.width, settings.size
            self.frame: nn.Module = FrameEncoder(settings.channels, settings.features, *sizes)
            self.decoder: nn.Module = TransposedDecoder(codes, settings.channels, *sizes)
        else:
            self.frame = MLPFrameEncoder(settings.channels, width=settings.features, dropout=0.0)
            self.decoder = VectorDecoder(codes, settings.channels, 4 * settings.width)
        self.sequence = WholePosterior(settings.features, settings.hidden, settings.static, settings.dynamic)
        self.prior = LSTMPrior(settings.dynamic, settings.hidden)
        self.epoch: int | None = None
        """The epoch training is in, for the warm-up; None has it behind."""
        self.provenance: dict[str, Any] = {}
        if settings.kind == "video":
            self.apply(initialise_)

    @property
    def unit_range(self) -> bool:
        """Whether the network works on values from 0 to 1: on images it does."""
        return self.settings.kind == "video"

    @property
    def contrasting(self) -> bool:
        """Whether the warm-up is over."""
        return self.epoch is None or self.epoch >= self.settings.warm_up

    def posterior(self, x: Tensor, lengths: Tensor | None = None) -> Posterior:
        """Return the Gaussians of the codes of clips.

        Raises: InputError for clips or lengths of other shapes than the system's.
        """
        x = self._clips(x)
        lengths = check.lengths(lengths, x)
        g = real_frames_through(self.frame, x, valid(lengths, x.shape[1]))
        posterior: Posterior = self.sequence(g, lengths)
        return posterior

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Factors:
        """Return the posterior means."""
        return self.posterior(x, lengths).means()

    def decode(self, f: Factors, noise: Tensor | None = None, steps: int | None = None, seed: Seed = 0) -> Tensor:
        """Return clips with these factors; nothing is drawn, so noise, steps and seed play no part.

        Raises: InputError for factors of other widths.
        """
        s = self.settings
        if (f.static.shape[-1], f.dynamic.shape[-1]) != (s.static, s.dynamic):
            raise InputError(
                f"factors: got widths S {f.static.shape[-1]} and D {f.dynamic.shape[-1]}, "
                f"expected S {s.static} and D {s.dynamic}"
            )
        return self.draw(f)

    def draw(self, f: Factors, real: Tensor | None = None) -> Tensor:
        """Return clips with these factors; of frames real (B, V) says are padding nothing is drawn, they are 0."""
        return real_frames_through(self.decoder, f.per_frame(), real)

    def loss(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        mask: Tensor | None = None,
        draws: Draws | None = None,
    ) -> Terms:
        """Return the training loss by its terms; see ``spyl_loss``, which names the draws.

        A mask like x marks missing entries with 1: they are read as 0 and have no error.
        Raises: InputError as ``posterior``.
        """
        x, missing = without_missing(self._clips(x), mask)
        lengths, draws = check.lengths(lengths, x), draws or fresh(generator)
        return spyl_loss(self, x, lengths, draws, contrast=self.contrasting, missing=missing)

    def sample_static(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return static codes (N, S) from N(0, I)."""
        return fresh(generator)("static", (count, self.settings.static), self._like())

    def sample_dynamic(self, count: int, frames: int, generator: torch.Generator | None = None) -> Tensor:
        """Return dynamic codes (N, V, D) of a free run of the prior on its own samples.

        Differs: these samples; ``as_published``, as the released evaluation, the means along the run.
        """
        return roll_out(self, fresh(generator)("dynamic", (count, frames, self.settings.dynamic), self._like()))

    def _like(self) -> Tensor:
        return self.prior.head.mean.weight

    def _clips(self, x: Tensor) -> Tensor:
        channels = self.settings.channels
        if self.settings.kind == "video":
            return expect_frames(x, channels, self.settings.size)
        if x.ndim != 3 or x.shape[2] != channels or not x.is_floating_point():
            raise InputError(f"x: got {tuple(x.shape)} of {x.dtype}, expected (B, V, {channels}) of floating point")
        return x
