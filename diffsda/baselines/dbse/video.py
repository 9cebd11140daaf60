"""DBSE for video: frames read and drawn by convolutions."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda import check
from diffsda.baselines.dbse.loss import dynamic_divergence, squared_error, static_divergence
from diffsda.baselines.dbse.model import DBSE
from diffsda.baselines.dbse.posterior import Posterior, SinglePosterior
from diffsda.baselines.dbse.settings import VideoSettings
from diffsda.baselines.dcgan import (
    FrameEncoder,
    TransposedDecoder,
    UpsamplingDecoder,
    expect_frames,
    frames_through,
    initialise_,
    real_frames_through,
)
from diffsda.baselines.draws import Draws, fresh
from diffsda.baselines.lstm_prior import LSTMPrior
from diffsda.baselines.missing import without_missing
from diffsda.baselines.system import Terms
from diffsda.disentangler import Seed
from diffsda.factors import Factors
from diffsda.nn.recurrent import valid


class VideoDBSE(DBSE):
    """DBSE over clips (B, V, C, H, H) with values from 0 to 1; its first frame gives the static code.

    Source: DBSE's released code for Sprites and MUG.
    """

    settings: VideoSettings

    def __init__(self, settings: VideoSettings) -> None:
        super().__init__(settings)
        s = settings
        codes = s.static + s.dynamic
        self.frame = FrameEncoder(s.channels, s.features, s.width, s.size)
        self.reader = SinglePosterior(s.features, s.hidden, s.static, s.dynamic)
        kind = TransposedDecoder if s.decoder == "transposed" else UpsamplingDecoder
        self.decoder = kind(codes, s.channels, s.width, s.size)
        self.prior = LSTMPrior(s.dynamic, s.hidden)
        self.apply(initialise_)

    @property
    def unit_range(self) -> bool:
        """Whether the network works on values from 0 to 1: it does."""
        return True

    def posterior(self, x: Tensor, lengths: Tensor | None = None, *, draws: Draws | None = None) -> Posterior:
        """Return the Gaussians of the codes of clips.

        Shapes: x (B, V, C, H, H), lengths (B,) or None. Draws: ``slot`` (B, G), zeros without ``draws``.
        Raises: InputError for clips it cannot read.
        """
        expect_frames(x, self.settings.channels, self.settings.size)
        lengths = check.lengths(lengths, x)
        g = real_frames_through(self.frame, x, valid(lengths, x.shape[1]))  # (B, V, G)
        single = g[:, 0]
        slot = torch.zeros_like(single) if draws is None else draws("slot", tuple(single.shape), single)
        out: Posterior = self.reader(g, single, slot, lengths)
        return out

    def decode(self, f: Factors, noise: Tensor | None = None, steps: int | None = None, seed: Seed = 0) -> Tensor:
        """Return the clips of these codes (B, V, C, H, H), from 0 to 1; noise, steps and seed change nothing.

        Raises: InputError for codes of other widths.
        """
        self._check_codes(f)
        return frames_through(self.decoder, f.per_frame())  # codes (B, V, D + S)

    def loss(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        mask: Tensor | None = None,
        draws: Draws | None = None,
    ) -> Terms:
        """Return the loss by its terms: the clip's squared error, the first frame's, and the two divergences.

        A mask like x marks missing entries with 1: they are read as 0 and have no error.
        The first frame is drawn by a pass of its own, so that norms see it twice, the second time alone.
        Draws, from ``generator`` or given: ``slot`` (B, G), ``s`` (B, S), ``d`` (B, V, D).
        Source: the released loss.
        """
        draws = draws or fresh(generator)
        x, missing = without_missing(x, mask)
        q = self.posterior(x, lengths, draws=self._loss_slot_draws(draws))
        codes = q.sample(draws)
        real = valid(check.lengths(lengths, x), x.shape[1])
        drawn = real_frames_through(self.decoder, codes.per_frame(), real)
        first = self.decoder(codes.per_frame()[:, 0])
        start = 1 if self.settings.skip_first else 0
        later = [None if part is None else part[:, start:] for part in (real, missing)]
        terms = {
            "sequence": squared_error(drawn[:, start:], x[:, start:], *later),
            "single": squared_error(first, x[:, 0], missing=None if missing is None else missing[:, 0]),
            "static_divergence": static_divergence(q.static),
            "dynamic_divergence": dynamic_divergence(q.dynamic, self.prior.teacher_forced(codes.dynamic), real),
        }
        return Terms(terms, self._weights())
