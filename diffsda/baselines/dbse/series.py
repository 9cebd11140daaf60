"""DBSE for time series: one window gives the static code, each window a dynamic one."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from diffsda import check
from diffsda.baselines.dbse.loss import dynamic_divergence, negative_log_likelihood, static_divergence
from diffsda.baselines.dbse.model import DBSE
from diffsda.baselines.dbse.posterior import Posterior
from diffsda.baselines.dbse.settings import SeriesSettings
from diffsda.baselines.draws import Draws, fresh
from diffsda.baselines.gaussian import Gaussian, GaussianHead
from diffsda.baselines.lstm_prior import LSTMPrior
from diffsda.baselines.system import Terms
from diffsda.disentangler import Seed
from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.nn.recurrent import valid

STEP, INNER = 32, 64
"""Widths of a step's features, and of the layer between."""
_SHARE = 0.7


class SeriesDecoder(nn.Module):
    """Write each window by itself: its code starts an LSTM that is driven by noise.

    Shapes: codes (B, W, D + S), noise (B, W, w, 32) -> mean and scale (B, W * w, F), the scale below 0.5.
    Source: DBSE's released code for series.
    """

    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.start = nn.Linear(codes, STEP)
        self.lstm = nn.LSTM(STEP, STEP, batch_first=True)
        self.out = nn.Sequential(nn.Linear(STEP, INNER), nn.ReLU(), nn.Linear(INNER, STEP))
        self.mean = nn.Linear(STEP, channels)
        self.scale = nn.Linear(STEP, channels)

    def forward(self, codes: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.tanh(self.start(codes.flatten(0, 1)))[None]  # (1, B*W, 32)
        h = self.out(self.lstm(noise.flatten(0, 1), (state, state))[0])  # (B*W, w, 32)
        h = h.reshape(codes.shape[0], -1, STEP)
        return self.mean(h), 0.5 * torch.sigmoid(self.scale(h))


class SeriesDBSE(DBSE):
    """DBSE over series (B, T, F) of W windows of w steps; dynamic codes are (B, W, D), one a window.

    The features of the single window are taken off those of the others, step by step. ``as_published`` they are not
    (the released code works the difference out and uses its shape alone), missing entries count in the likelihoods, and
    where the single window is not the first, codes and clips come out shifted so that it is.
    A mask (B, T, F) marks missing entries with 1. Steps with too many of them are hidden from the dynamic codes.
    Source: DBSE's released code for PhysioNet, Air Quality and ETTh1.
    Differs: a cell that is never called is built as published only; the prior can run freely here.
    """

    settings: SeriesSettings
    frames_apart: ClassVar[bool] = False

    def __init__(self, settings: SeriesSettings) -> None:
        super().__init__(settings)
        s = settings
        self.steps = nn.Sequential(
            *(nn.Linear(s.channels, STEP), nn.ReLU(), nn.Linear(STEP, INNER), nn.ReLU()),
            *(nn.Linear(INNER, STEP), nn.ReLU()),
        )
        self.static_gru = nn.GRU(STEP, STEP, batch_first=True)
        self.static_in = nn.Linear(STEP, STEP)
        self.static_head = GaussianHead(STEP, s.static)
        self.window_lstm = nn.LSTM(STEP, STEP, batch_first=True)
        self.dynamic_head = GaussianHead(STEP, s.dynamic)
        self.decoder = SeriesDecoder(s.static + s.dynamic, s.channels)
        self.prior = LSTMPrior(s.dynamic, s.hidden)
        if s.as_published:
            self.unused = nn.LSTMCell(STEP, STEP)

    def encode(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Factors:
        """Return the means of the codes: static (B, S), dynamic (B, W, D), one a window.

        Only a slot of noise (as published) makes them random; it is drawn from ``generator``.
        """
        return self.posterior(x, lengths, mask=mask, draws=self._slot_draws(fresh(generator))).means()

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        draws: Draws | None = None,
    ) -> Posterior:
        """Return the Gaussians of the codes of series.

        Shapes: x (B, T, F), mask like x or None, lengths (B,) or None: steps beyond them are missing. Draws: ``slot``
        (B, 32), zeros without ``draws``.
        Raises: InputError for series it cannot read.
        """
        mask = self._missing(x, lengths, mask)
        q = self._shifted(self._to_front(x), None if mask is None else self._to_front(mask), draws)
        return Posterior(q.static, Gaussian(self._in_time(q.dynamic.mean), self._in_time(q.dynamic.logvar)))

    def distribution(self, codes: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of every value.

        Shapes: codes (B, W, D + S), dynamic first, noise (B, W, w, 32) -> (B, W * w, F) each; any w.
        """
        out: tuple[Tensor, Tensor] = self.decoder(codes, noise)
        return out

    def decode(self, f: Factors, noise: Tensor | None = None, steps: int | None = None, seed: Seed = 0) -> Tensor:
        """Return the means of the series of these codes (B, W * w, F); steps change nothing.

        Shapes: noise (B, W, w, 32) drives the windows, or None to draw it from ``seed`` (series i from
        seed + i, or one seed a series).
        Raises: InputError for codes of other widths or noise of another shape.
        """
        self._check_codes(f)
        shape = (f.batch, f.frames, self.settings.window, STEP)
        if noise is None:
            noise = SampleNoise(seed, shape, like=f.dynamic)()
        if tuple(noise.shape) != shape:
            raise InputError(f"noise: got {tuple(noise.shape)}, expected {shape} for these factors")
        return self.distribution(f.per_frame(), noise)[0]

    def loss(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        mask: Tensor | None = None,
        draws: Draws | None = None,
    ) -> Terms:
        """Return the loss by its terms: negative log likelihoods of the series and of one step, two divergences.

        Each series is repeated M times (``draws`` of the settings), the whole batch after itself.
        Draws, from ``generator`` or given: ``slot`` (MB, 32), ``s`` (MB, S), ``d`` (MB, W, D), ``dec`` (MB, W, w, 32),
        ``dec_static`` (MB, 1, 1, 32).
        Source: the released loss.
        """
        draws, as_published = draws or fresh(generator), self.settings.as_published
        mask = self._missing(x, lengths, mask)
        x = self._to_front(x).repeat(self.settings.draws, 1, 1)
        mask = None if mask is None else self._to_front(mask).repeat(self.settings.draws, 1, 1)
        q = self._shifted(x, mask, self._loss_slot_draws(draws))
        f = q.sample(draws)
        codes = f.per_frame()
        shape = (*codes.shape[:2], self.settings.window, STEP)
        mean, scale = self.distribution(codes, draws("dec", shape, codes))
        step = self.distribution(codes[:, :1], draws("dec_static", (len(codes), 1, 1, STEP), codes))
        hidden = None if mask is None or as_published else mask[:, :1]
        terms = {
            "sequence": negative_log_likelihood(x, mean, scale, mask, count_missing=as_published),
            "single": negative_log_likelihood(x[:, :1], *step, hidden),
            "static_divergence": static_divergence(q.static),
            "dynamic_divergence": dynamic_divergence(q.dynamic, self.prior.teacher_forced(f.dynamic)),
        }
        return Terms(terms, self._weights())

    def _shifted(self, x: Tensor, mask: Tensor | None, draws: Draws | None) -> Posterior:
        """Return the Gaussians of series whose single window comes first."""
        h = self.steps(x).unflatten(1, (-1, self.settings.window))  # (B, W, w, 32)
        single, others = h[:, 0], h[:, 1:]
        static = self.static_head(torch.tanh(self.static_in(self.static_gru(single)[1][0])))
        if not self.settings.as_published:
            others = others - single[:, None]
        like = single[:, 0]
        slot = torch.zeros_like(like) if draws is None else draws("slot", tuple(like.shape), like)
        changes = torch.cat([slot[:, None, None].expand_as(h[:, :1]), others], dim=1)
        if mask is not None:
            kept = kept_steps(mask).unflatten(1, (-1, self.settings.window))
            changes = changes * kept[..., None]
        last = self.window_lstm(changes.flatten(0, 1))[0][:, -1]  # (B*W, 32)
        return Posterior(static, self.dynamic_head(last.unflatten(0, h.shape[:2])))

    def _new_dynamic(self, count: int, frames: int, draws: Draws) -> Tensor:
        return self._in_time(super()._new_dynamic(count, frames, draws))

    def _to_front(self, x: Tensor) -> Tensor:
        """Shift series in a circle so that the single window comes first."""
        return x.roll(-self.settings.single * self.settings.window, 1)

    def _in_time(self, codes: Tensor) -> Tensor:
        """Undo the shift for codes, one a window."""
        return codes if self.settings.as_published else codes.roll(self.settings.single, 1)

    def _missing(self, x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Check series; return which entries are missing, padding included."""
        s = self.settings
        if x.ndim != 3 or x.shape[2] != s.channels or not x.is_floating_point():
            raise InputError(f"x: got {tuple(x.shape)} of {x.dtype}, expected (B, T, {s.channels}) of floating point")
        if x.shape[1] % s.window or x.shape[1] <= s.single * s.window:
            raise InputError(
                f"x: got {x.shape[1]} steps, expected whole windows of {s.window} and more than {s.single} of them"
            )
        missing, lengths = check.mask(mask, x), check.lengths(lengths, x)
        if lengths is not None and s.single and int(lengths.min()) <= s.single * s.window:
            first = s.single * s.window
            raise InputError(
                f"lengths: got a clip of {int(lengths.min())} frames, expected more than {first}: the static code is "
                f"read from frames {first} to {first + s.window - 1}; leave such clips out or set an earlier "
                "settings.single"
            )
        real = valid(lengths, x.shape[1])
        if real is None:
            return missing
        padding = (~real)[:, :, None].expand_as(x).to(x.dtype)
        return padding if missing is None else torch.maximum(missing, padding)


def kept_steps(mask: Tensor) -> Tensor:
    """Return which steps the dynamic codes see (B, T): those with less than floor(0.7 F) of their values missing."""
    return mask.sum(-1) < int(_SHARE * mask.shape[-1])
