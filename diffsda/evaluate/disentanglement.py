"""How well a model takes labelled clips apart: probes, verification, swaps and reconstruction in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffsda.disentangler import Disentangler, StartNoise
from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import agree
from diffsda.evaluate.eer import verification_eer
from diffsda.evaluate.judge import Judge
from diffsda.evaluate.lengths import Array
from diffsda.evaluate.probe import accuracy, frames, mean_over_time, repeat, resample
from diffsda.evaluate.reconstruction import mse
from diffsda.evaluate.trajectory import centred_cosine
from diffsda.tasks.encode import encode
from diffsda.tasks.reconstruct import reconstruct
from diffsda.tasks.swap import swap

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


@dataclass(frozen=True)
class SwapScores:
    """Scores of swaps: whose label a judge fitted on real clips reads, and whose motion they have."""

    read_as_static: float
    """Share of swaps read as the static donor's label."""
    read_as_dynamic: float
    """Share of swaps read as the dynamics donor's label."""
    trajectory_to_dynamic: float
    """Mean cosine of the swap's centred trajectory to its dynamics donor's."""
    trajectory_to_static: float
    """Mean cosine of the swap's centred trajectory to its static donor's."""


@dataclass(frozen=True)
class Scores:
    """Scores on a test set; accuracies are linear probes fitted on the fitting set, all shares in [0, 1]."""

    accuracy_static: float
    """Label read from s."""
    accuracy_dynamic_frame: float
    """Label read from one frame of d."""
    accuracy_dynamic_all: float
    """Label read from all frames of d (resampled to 16)."""
    accuracy_mean_feature: float
    """Baseline: label read from the raw time mean."""
    eer_static: float
    """Verification by the cosine of s; 0 is perfect, 0.5 is chance."""
    eer_dynamic: float
    """Verification by the cosine of the mean of d; 0.5 is best."""
    eer_mean_feature: float
    """Baseline: verification by the raw time mean."""
    judge_on_real: float
    """The judge on the real test clips: the ceiling of what it reads from swaps."""
    reconstruction_mse: float
    """From the clip's own stochastic code, in whitened units (standard deviation 0.5)."""
    reconstruction_mse_fresh: float
    """From fresh start noise: what the factors alone hold."""
    swaps: dict[str, SwapScores]
    """The swaps, by where their start noise came from."""


def donors(labels: Array, seed: int) -> Array:
    """Draw for every clip another clip with another label, as the donor of its dynamics.

    Shapes: labels (N,) -> indices (N,). A swap within one label would say nothing about the label.
    Raises: InputError if there is one label only.
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        raise InputError("donors: got clips of one label, expected at least two")
    draw = np.random.default_rng(seed)
    return np.array([draw.choice(np.flatnonzero(labels != label)) for label in labels])


def score(
    model: Disentangler,
    fit: Clips,
    test: Clips,
    *,
    label: str,
    noises: Sequence[StartNoise] = ("dynamic",),
    seed: int = 0,
    pairs: Array | None = None,
) -> Scores:
    """Score a model on clips that carry a static label.

    ``fit`` trains the probes and the judge, ``test`` is scored; both whitened as the model expects. ``noises`` are
    the start noise policies swaps are made with, ``pairs`` the dynamics donor of every test clip (drawn from ``seed``
    if left out).
    Source: DiffSDA section 5 (EER), its neighbours' downstream probes and swap judges.
    Raises: InputError if the label's classes have other names in the two.
    """
    agree(fit, test, [label])
    f_fit, f_test = encode(model, fit), encode(model, test)
    y_fit, y_test = fit.labels[label], test.labels[label]
    s_fit, s_test = f_fit.static.numpy(), f_test.static.numpy()
    d_fit, d_test = f_fit.dynamic.numpy(), f_test.dynamic.numpy()
    mean_fit, mean_test = mean_over_time(fit.x, fit.lengths), mean_over_time(test.x, test.lengths)
    judge = Judge.fit(fit.x, y_fit, fit.lengths)
    giver = test.select(donors(y_test, seed) if pairs is None else np.asarray(pairs))
    return Scores(
        accuracy_static=accuracy(s_fit, y_fit, s_test, y_test),
        accuracy_dynamic_frame=accuracy(
            frames(d_fit, fit.lengths)[0],
            repeat(y_fit, fit.lengths, d_fit.shape[1]),
            frames(d_test, test.lengths)[0],
            repeat(y_test, test.lengths, d_test.shape[1]),
        ),
        accuracy_dynamic_all=accuracy(resample(d_fit, fit.lengths), y_fit, resample(d_test, test.lengths), y_test),
        accuracy_mean_feature=accuracy(mean_fit, y_fit, mean_test, y_test),
        eer_static=verification_eer(s_test, y_test),
        eer_dynamic=verification_eer(mean_over_time(d_test, test.lengths), y_test),
        eer_mean_feature=verification_eer(mean_test, y_test),
        judge_on_real=judge.share(test.x, y_test, test.lengths),
        reconstruction_mse=mse(reconstruct(model, test, seed=seed), test.x, test.lengths),
        reconstruction_mse_fresh=mse(reconstruct(model, test, noise="fresh", seed=seed), test.x, test.lengths),
        swaps={noise: _swaps(model, test, giver, judge, label, noise, seed) for noise in noises},
    )


def _swaps(
    model: Disentangler, test: Clips, giver: Clips, judge: Judge, label: str, noise: StartNoise, seed: int
) -> SwapScores:
    """Swap every test clip with its donor and score what comes out, which is as long as the donor."""
    made = swap(model, test, giver, noise=noise, seed=seed)
    return SwapScores(
        read_as_static=judge.share(made, test.labels[label], giver.lengths),
        read_as_dynamic=judge.share(made, giver.labels[label], giver.lengths),
        trajectory_to_dynamic=float(centred_cosine(made, giver.x, giver.lengths, giver.lengths).mean()),
        trajectory_to_static=float(centred_cosine(made, test.x, giver.lengths, test.lengths).mean()),
    )
