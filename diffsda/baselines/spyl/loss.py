"""SPYL's loss: a variational bound, mutual information, and contrast with clips the system generates itself.

Positives are predicted: keep one code, draw the other from its prior, decode, encode again. Negatives are sampled: a
bank of clips drawn from the priors alone, ranked by how far their posteriors are from the clip's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from diffsda.baselines.dbse.loss import dynamic_divergence, squared_error, static_divergence
from diffsda.baselines.dbse.posterior import Posterior
from diffsda.baselines.draws import Draws
from diffsda.baselines.gaussian import Gaussian
from diffsda.baselines.lstm_prior import LSTMPrior
from diffsda.baselines.spyl.contrast import divergences, farthest_first, info_nce, pick_negatives
from diffsda.baselines.spyl.mutual_information import mutual_information
from diffsda.baselines.spyl.settings import SPYLSettings
from diffsda.baselines.system import Terms
from diffsda.factors import Factors
from diffsda.nn.recurrent import valid


class Parts(Protocol):
    """What the loss needs of the system."""

    settings: SPYLSettings
    prior: LSTMPrior

    def posterior(self, x: Tensor, lengths: Tensor | None = None) -> Posterior:
        """Return the Gaussians of the codes of clips."""
        ...

    def draw(self, f: Factors, real: Tensor | None = None) -> Tensor:
        """Return clips with these factors; frames that are not real come back as 0."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Return all modules, the norms among them."""
        ...


@dataclass(frozen=True)
class Reconstruction:
    """One pass of clips: their posterior, codes drawn from it, the prior given these, and what they decode to."""

    posterior: Posterior
    codes: Factors
    prior: Gaussian
    clips: Tensor


@dataclass(frozen=True)
class Bank:
    """Posteriors of generated clips: static (K, S), and of the dynamic codes' mean over frames (K, D)."""

    static: Gaussian
    dynamic: Gaussian


@dataclass(frozen=True)
class Prediction:
    """Clips with one code kept and the other drawn, and the kept one as read off them again: (B, S) or (B, D)."""

    clips: Tensor
    code: Tensor


def spyl_loss(
    system: Parts,
    x: Tensor,
    lengths: Tensor | None,
    draws: Draws,
    *,
    contrast: bool,
    missing: Tensor | None = None,
) -> Terms:
    """Return the loss of clips by its terms; without ``contrast`` its two terms are 0.

    Missing entries (booleans like x, or None) have no error of reconstruction.
    Draws, in this order: ``main_s`` (B, S), ``main_d`` (B, V, D); for contrast ``bank_prior_s`` (K, S), ``bank_roll``
    (K, V, D), ``content_roll`` (B, V, D), ``motion_prior_s`` (B, S), and what ``choose_negatives`` asks for; as
    published ``content_re_s``, ``content_re_d``, ``motion_re_s`` and ``motion_re_d`` too.
    Source: SPYL Eq. 8 and its released code.
    Differs: only what the loss uses is computed. ``as_published`` runs the bank during the warm-up too, encodes the
    clips anew and decodes in vain for each positive, and lets the norms' running statistics follow all of it;
    otherwise they follow the data alone.
    """
    settings, real = system.settings, valid(lengths, x.shape[1])
    contrast = contrast and bool(settings.weight_contrast_static or settings.weight_contrast_dynamic)
    main = reconstruct(system, x, lengths, draws)
    posterior, s, d = main.posterior, main.codes.static, main.codes.dynamic
    terms = {
        "reconstruction": squared_error(main.clips, x, real, missing),
        "static": static_divergence(posterior.static),
        "dynamic": dynamic_divergence(posterior.dynamic, main.prior, real),
        "contrast_static": x.new_zeros(()),
        "contrast_dynamic": x.new_zeros(()),
        "information": mutual_information(
            *(s, d, posterior.static, posterior.dynamic),
            real=real,
            items=settings.items,
            as_published=settings.as_published,
        ),
    }
    with nullcontext() if settings.as_published else norms_untouched(system):
        if contrast or settings.as_published:
            bank = make_bank(system, settings.bank or 4 * len(x), x.shape[1], draws)
        if contrast:
            content = predict_static(system, x, lengths, posterior, draws)
            motion = predict_dynamic(system, x, lengths, posterior, draws)
            pooled = over_time(posterior.dynamic, real, as_published=settings.as_published)
            negatives = choose_negatives(settings, posterior.static, bank.static, "static", draws)
            terms["contrast_static"] = info_nce(
                posterior.static.mean, content.code, negatives, temperature=settings.temperature
            )
            negatives = choose_negatives(settings, pooled, bank.dynamic, "dynamic", draws)
            terms["contrast_dynamic"] = info_nce(pooled.mean, motion.code, negatives, temperature=settings.temperature)
    return Terms(
        terms,
        {
            "reconstruction": settings.weight_reconstruction,
            "static": settings.weight_static,
            "dynamic": settings.weight_dynamic,
            "contrast_static": settings.weight_contrast_static,
            "contrast_dynamic": settings.weight_contrast_dynamic,
            "information": settings.weight_information,
        },
    )


def reconstruct(system: Parts, x: Tensor, lengths: Tensor | None, draws: Draws) -> Reconstruction:
    """Encode clips, draw codes (``main_s``, ``main_d``) and decode them."""
    real = valid(lengths, x.shape[1])
    posterior = system.posterior(x, lengths)
    codes = posterior.sample(within(draws, "main_"))
    prior = system.prior.teacher_forced(codes.dynamic)
    return Reconstruction(posterior, codes, prior, system.draw(codes, real))


@torch.no_grad()
def make_bank(system: Parts, count: int, frames: int, draws: Draws) -> Bank:
    """Draw both codes of K clips from the priors (``bank_prior_s``, ``bank_roll``), decode and encode them.

    Differs: dynamic codes are samples, and those of clips are compared by the true distribution of their mean over
    frames; ``as_published`` see ``predict_static`` and ``over_time``.
    """
    settings, like = system.settings, system.prior.head.mean.weight
    s = draws("bank_prior_s", (count, settings.static), like)
    d = roll_out(system, draws("bank_roll", (count, frames, settings.dynamic), like))
    posterior = system.posterior(system.draw(Factors(s, d)))
    return Bank(posterior.static, over_time(posterior.dynamic, None, as_published=settings.as_published))


def predict_static(system: Parts, x: Tensor, lengths: Tensor | None, posterior: Posterior, draws: Draws) -> Prediction:
    """Keep the static mean, draw the dynamics from the prior (``content_roll``); the code is the new static mean.

    Differs: the drawn dynamics are samples. ``as_published`` decodes the prior's means along a sampled run.
    """
    like = posterior.dynamic.mean
    eps = draws("content_roll", tuple(like.shape), like)
    f = Factors(posterior.static.mean, roll_out(system, eps))
    clips, again = _again(system, x, lengths, f, within(draws, "content_re_"))
    return Prediction(clips, again.static.mean)


def predict_dynamic(system: Parts, x: Tensor, lengths: Tensor | None, posterior: Posterior, draws: Draws) -> Prediction:
    """Keep the dynamic means, draw the static code from N(0, I) (``motion_prior_s``).

    The code is the mean over frames of the new dynamic means.
    """
    like = posterior.static.mean
    f = Factors(draws("motion_prior_s", tuple(like.shape), like), posterior.dynamic.mean)
    clips, again = _again(system, x, lengths, f, within(draws, "motion_re_"))
    return Prediction(clips, over_time(again.dynamic, valid(lengths, x.shape[1])).mean)


def roll_out(system: Parts, eps: Tensor) -> Tensor:
    """Return new dynamic codes (B, V, D) of a run of the prior on these normals: samples, or means as published."""
    run = system.prior.roll_out(len(eps), eps.shape[1], eps)
    return run.steps.mean if system.settings.as_published else run.codes


def over_time(codes: Gaussian, real: Tensor | None, *, as_published: bool = False) -> Gaussian:
    """Return the Gaussian of the mean over frames of independent codes.

    Shapes: (B, V, D), real (B, V) or None -> (B, D).
    Differs: the variance of a mean is the sum of the variances over the squared count; ``as_published`` averages the
    log variances.
    """
    if real is None:
        real = codes.mean.new_ones(codes.mean.shape[:2]).bool()
    count = real.sum(1, keepdim=True)  # (B, 1)
    mean = (codes.mean * real[:, :, None]).sum(1) / count
    if as_published:
        return Gaussian(mean, (codes.logvar * real[:, :, None]).sum(1) / count)
    sums = codes.logvar.masked_fill(~real[:, :, None], float("-inf")).logsumexp(1)
    return Gaussian(mean, sums - 2 * count.log())


def within(draws: Draws, prefix: str) -> Draws:
    """Return draws that ask for their names with a prefix."""

    def draw(what: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return draws(f"{prefix}{what}", shape, like)

    return draw


@contextmanager
def norms_untouched(system: Parts) -> Iterator[None]:
    """Leave the running statistics of batch norms as they are; in training they still use those of the batch."""
    norms = [m for m in system.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def choose_negatives(settings: SPYLSettings, anchors: Gaussian, bank: Gaussian, which: str, draws: Draws) -> Tensor:
    """Return each anchor's negatives (B, n, S) out of the bank's means (K, S).

    Draws, for hard negatives only: ``order_<which>`` (B, 2 * (K // 3)), whose order is the negatives'; as published
    one row for all anchors, (1, 2 * (K // 3)).
    """
    ranking = farthest_first(divergences(anchors, bank))
    batch, size = ranking.shape
    order = None
    if settings.hardness == "hard":
        rows = 1 if settings.as_published else batch
        order = draws(f"order_{which}", (rows, 2 * (size // 3)), bank.mean).argsort(dim=1)
    count = settings.negatives or max(1, size // 2)
    return bank.mean[pick_negatives(ranking, count, settings.hardness, order=order, as_published=settings.as_published)]


def _again(system: Parts, x: Tensor, lengths: Tensor | None, f: Factors, draws: Draws) -> tuple[Tensor, Posterior]:
    """Decode codes and encode what comes out; as published, with two passes that only norms take notice of."""
    real, in_vain = valid(lengths, x.shape[1]), system.settings.as_published
    if in_vain:
        with torch.no_grad():
            system.posterior(x, lengths)
    clips = system.draw(f, real)
    again = system.posterior(clips, lengths)
    if in_vain:
        with torch.no_grad():
            system.draw(again.sample(draws), real)
    return clips, again
