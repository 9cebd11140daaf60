"""How well a model takes labelled clips apart: probes, verification, swaps and reconstruction in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from diffsda.errors import InputError
from diffsda.evaluate.eer import equal_error_rate
from diffsda.evaluate.judge import Judge
from diffsda.evaluate.lengths import Array
from diffsda.evaluate.probe import accuracy, frames, mean_over_time, repeat, resample
from diffsda.evaluate.reconstruction import mse
from diffsda.evaluate.trajectory import centred_cosine
from diffsda.model import DiffSDA, StartNoise

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


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
    swap_read_as_static: float
    """Swaps that a judge fitted on real clips reads as the static donor's label."""
    swap_read_as_dynamic: float
    """Swaps that the judge reads as the dynamics donor's label."""
    judge_on_real: float
    """The judge on the real test clips: the ceiling of the two above."""
    trajectory_to_dynamic: float
    """Cosine of the swap's centred trajectory to its dynamics donor's."""
    trajectory_to_static: float
    """Cosine of the swap's centred trajectory to its static donor's."""
    reconstruction_mse: float
    """From the clip's own stochastic code, in whitened units (standard deviation 0.5)."""
    reconstruction_mse_fresh: float
    """From fresh start noise: what the factors alone hold."""


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


@torch.no_grad()
def score(
    model: DiffSDA,
    fit: Clips,
    test: Clips,
    *,
    label: str,
    noise: StartNoise = "dynamic",
    seed: int = 0,
    pairs: Array | None = None,
) -> Scores:
    """Score a model on clips that carry a static label.

    ``fit`` trains the probes and the judge, ``test`` is scored; both whitened as the model expects. ``noise``
    is the start noise policy of the swaps, ``pairs`` the dynamics donor of every test clip (drawn from
    ``seed`` if left out).
    Source: DiffSDA section 5 (EER), its neighbours' downstream probes and swap judges.
    """
    f_fit, f_test = (model.encode(c.x, c.lengths) for c in (fit, test))
    y_fit, y_test = fit.labels[label], test.labels[label]
    s_fit, s_test = f_fit.static.numpy(), f_test.static.numpy()
    d_fit, d_test = f_fit.dynamic.numpy(), f_test.dynamic.numpy()
    mean_fit, mean_test = mean_over_time(fit.x, fit.lengths), mean_over_time(test.x, test.lengths)
    judge = Judge.fit(fit.x, y_fit, fit.lengths)
    other = donors(y_test, seed) if pairs is None else np.asarray(pairs)
    giver = test.select(other)
    swapped = model.swap(
        test.x,
        giver.x,
        noise=noise,
        seed=seed,
        lengths_static=test.lengths,
        lengths_dynamic=giver.lengths,
    ).numpy()
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
        eer_static=equal_error_rate(s_test, y_test),
        eer_dynamic=equal_error_rate(mean_over_time(d_test, test.lengths), y_test),
        eer_mean_feature=equal_error_rate(mean_test, y_test),
        swap_read_as_static=judge.share(swapped, y_test, giver.lengths),
        swap_read_as_dynamic=judge.share(swapped, giver.labels[label], giver.lengths),
        judge_on_real=judge.share(test.x, y_test, test.lengths),
        trajectory_to_dynamic=float(centred_cosine(swapped, giver.x, giver.lengths, giver.lengths).mean()),
        trajectory_to_static=float(centred_cosine(swapped, test.x, giver.lengths, test.lengths).mean()),
        reconstruction_mse=mse(model.reconstruct(test.x, test.lengths).numpy(), test.x, test.lengths),
        reconstruction_mse_fresh=mse(
            model.reconstruct(test.x, test.lengths, noise="fresh", seed=seed).numpy(), test.x, test.lengths
        ),
    )
