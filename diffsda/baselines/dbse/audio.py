"""DBSE for audio: chunks of magnitude spectrograms, read and written by recurrent networks."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from diffsda import check
from diffsda.baselines.dbse.loss import dynamic_divergence, squared_error, static_divergence
from diffsda.baselines.dbse.model import DBSE
from diffsda.baselines.dbse.posterior import Posterior, SinglePosterior, both_ways
from diffsda.baselines.dbse.settings import AudioSettings
from diffsda.baselines.draws import Draws, fresh
from diffsda.baselines.lstm_prior import LSTMPrior
from diffsda.baselines.missing import without_missing
from diffsda.baselines.system import Terms
from diffsda.disentangler import Seed
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.nn.recurrent import valid

CHUNK = 20
"""Frames of a chunk, as far as the released code's unused layers know it."""


class AudioDBSE(DBSE):
    """DBSE over chunks (B, V, F) of magnitudes; the first frame gives the static code.

    The frame is read on its own, by the same recurrent network that reads the whole chunk, and it is this reading that
    is taken off the others. ``as_published``: its reading is that of the whole chunk, which so reaches the static code.
    Source: DBSE's released code for TIMIT.
    Differs: layers that are never called are built as published only.
    """

    settings: AudioSettings
    frames_apart: ClassVar[bool] = False

    def __init__(self, settings: AudioSettings) -> None:
        super().__init__(settings)
        s, bins = settings, settings.channels
        self.frame_lstm = nn.LSTM(bins, bins, bidirectional=True, batch_first=True)
        self.frame_out = nn.Linear(2 * bins, bins)
        self.reader = SinglePosterior(bins, s.hidden, s.static, s.dynamic, squash=True)
        self.decoder_lstm = nn.LSTM(s.static + s.dynamic, bins, batch_first=True)
        self.decoder_out = nn.Linear(bins, bins)
        self.prior = LSTMPrior(s.dynamic, s.hidden)
        if s.as_published:
            long = CHUNK * bins
            layers = {"fc1": nn.Linear(long, long // 2), "fc2": nn.Linear(long // 2, long // 4)}
            mlp = nn.ModuleDict({**layers, "fc3": nn.Linear(long // 4, bins)})
            self.unused = nn.ModuleDict({"mlp": mlp, "lstm": nn.LSTM(2 * s.hidden, s.hidden, batch_first=True)})

    def read(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the features of frames, each read with its whole chunk: (B, V, F) -> (B, V, F)."""
        out: Tensor = self.frame_out(both_ways(self.frame_lstm, x, lengths))
        return out

    def posterior(self, x: Tensor, lengths: Tensor | None = None, *, draws: Draws | None = None) -> Posterior:
        """Return the Gaussians of the codes of chunks.

        Shapes: x (B, V, F), lengths (B,) or None. Draws: ``slot`` (B, F), zeros without ``draws``.
        Raises: InputError for chunks it cannot read.
        """
        if x.ndim != 3 or x.shape[2] != self.settings.channels or not x.is_floating_point():
            raise InputError(
                f"x: got {tuple(x.shape)} of {x.dtype}, expected (B, V, {self.settings.channels}) of floating point"
            )
        lengths = check.lengths(lengths, x)
        e = self.read(x, lengths)
        single = e[:, 0] if self.settings.as_published else self.read(x[:, :1])[:, 0]
        slot = torch.zeros_like(single) if draws is None else draws("slot", tuple(single.shape), single)
        out: Posterior = self.reader(e, single, slot, lengths)
        return out

    def decode(self, f: Factors, noise: Tensor | None = None, steps: int | None = None, seed: Seed = 0) -> Tensor:
        """Return the chunks of these codes (B, V, F), of any length; noise, steps and seed change nothing.

        Magnitudes can come out below 0: the released decoder has no last non-linearity.
        Raises: InputError for codes of other widths.
        """
        self._check_codes(f)
        out: Tensor = self.decoder_out(self.decoder_lstm(f.per_frame())[0])
        return out

    def loss(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        mask: Tensor | None = None,
        draws: Draws | None = None,
    ) -> Terms:
        """Return the loss by its terms, each a mean over chunks.

        A mask like x marks missing entries with 1: they are read as 0 and have no error.
        ``single`` is the squared error of the whole chunk as drawn from the static code alone, all dynamic codes 0.
        Draws, from ``generator`` or given: ``slot`` (B, F), ``s`` (B, S), ``d`` (B, V, D).
        Source: the released loss.
        """
        draws = draws or fresh(generator)
        x, missing = without_missing(x, mask)
        q = self.posterior(x, lengths, draws=self._loss_slot_draws(draws))
        codes = q.sample(draws)
        still = Factors(codes.static, torch.zeros_like(codes.dynamic))
        real = valid(check.lengths(lengths, x), x.shape[1])
        terms = {
            "sequence": squared_error(self.decode(codes), x, real, missing),
            "single": squared_error(self.decode(still), x, real, missing),
            "static_divergence": static_divergence(q.static),
            "dynamic_divergence": dynamic_divergence(q.dynamic, self.prior.teacher_forced(codes.dynamic), real),
        }
        return Terms(terms, self._weights())
