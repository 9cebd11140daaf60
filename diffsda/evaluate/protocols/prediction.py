"""Tables 5 and 14: mortality and oil temperature, predicted from frozen factors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.data.prepared import SPLITS
from diffsda.errors import InputError
from diffsda.evaluate import forest
from diffsda.evaluate.classification import area_under_roc, average_precision
from diffsda.evaluate.clip_labels import agree, clip_label
from diffsda.evaluate.codes import Codes, codes_of
from diffsda.evaluate.heads import mortality, oil
from diffsda.evaluate.job import Job
from diffsda.evaluate.lengths import Array, Floats, mask
from diffsda.evaluate.regression import constant_predictor, mean_absolute_error, month_of_year_predictor
from diffsda.evaluate.result import NAN, Better, Row
from diffsda.evaluate.settings import settings
from diffsda.evaluate.tried import tried

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

RUNS = 3
"""Heads fitted a seed; their mean counts."""
DEATH, OIL, MONTH = "death", "OT", "month"


def run(job: Job) -> list[Row]:
    """Predict what the clips have an outcome for: death in hospital, oil temperature, or both.

    Beside it stand predictors that see no factors: the share of deaths, a constant, the month of the year, a forest on
    the values themselves. Of ETTh1's error much is the shift from its training to its test years, which these show.
    Options: outcome (a label of 0 and 1, ``death``), target (an array of the prepared folder's files, ``OT``), window
    (frames a value is averaged over: 10 as the authors, 24 as DBSE), runs (heads a seed, 3), passes.
    Raises: InputError if there is neither outcome.
    """
    wanted = settings(job.options, outcome=DEATH, target=OIL, window=oil.WINDOW, runs=RUNS, passes=None)
    outcome, target = wanted["outcome"], wanted["target"]
    has_outcome = outcome in job.test.labels and outcome in job.fit.labels
    values = _values(job, target)
    if not has_outcome and values is None:
        known = ", ".join(job.test.labels) or "no labels"
        raise InputError(
            f"prediction: got clips of {job.test.name} with {known}, expected a label {outcome!r} (physionet) or a "
            f"prepared folder whose files hold {target!r} (etth1)"
        )
    fit, test = (codes_of(job.model, clips, job.batch) for clips in (job.fit, job.test))
    agree(job.fit, job.test, (outcome, MONTH))
    rows = _outcome(job, wanted, fit, test) if has_outcome else []
    return rows + (_target(job, wanted, values, fit, test) if values is not None else [])


def _outcome(job: Job, wanted: dict[str, Any], fit: Codes, test: Codes) -> list[Row]:
    name = wanted["outcome"]
    known, truth = clip_label(job.fit, name), clip_label(job.test, name)
    ours, asked = np.flatnonzero(known >= 0), np.flatnonzero(truth >= 0)
    known, truth = known[ours], truth[asked]
    reason = _undefined(name, known, truth)
    scores: list[tuple[str, bool, list[Floats]]] = [
        (f"{name}, told from s and d", False, []),
        (f"{name}, random forest on the values", True, []),
    ]
    if not reason:
        for seed in _seeds(job, wanted["runs"]):
            scores[0][2].append(
                mortality.mortality_scores(
                    fit.select(ours),
                    known,
                    test.select(asked),
                    as_published=job.as_published,
                    seed=seed,
                    passes=wanted["passes"] or mortality.PASSES,
                )
            )
        made = forest.classes(job.seed).fit(_summary(job.fit)[ours], known)
        scores[1][2].append(made.predict_proba(_summary(job.test)[asked])[:, 1])
    rows = []
    for about, baseline, given in scores:
        for metric, measure in (("auprc", average_precision), ("auroc", area_under_roc)):
            value, why = (NAN, reason) if reason else tried(_mean(measure, truth, given))
            rows.append(_row(metric, value, about, len(asked), baseline=baseline, reason=why))
    blind = {"auprc": float(truth.mean()) if len(truth) else NAN, "auroc": 0.5}
    for metric, value in blind.items():
        words = f"{name}, scores without information"
        rows.append(_row(metric, NAN if reason else value, words, len(asked), baseline=True, reason=reason))
    return rows


def _target(job: Job, wanted: dict[str, Any], values: tuple[Floats, Floats], fit: Codes, test: Codes) -> list[Row]:
    name, size = wanted["target"], wanted["window"]
    known = oil.windows(values[0], fit.lengths, size)
    truth = oil.windows(values[1], test.lengths, size)
    there = ~np.isnan(truth.mean)
    count = int(there.sum())
    reason = ""
    if np.isnan(known.mean).all():
        reason = f"the training clips have no value of {name}"
    elif not count:
        reason = f"the test clips have no value of {name}"

    def error(predict: Callable[[], Floats]) -> tuple[float, str]:
        if reason:
            return NAN, reason
        return tried(lambda: mean_absolute_error(truth.mean[there], predict()[there]))

    def heads() -> tuple[float, str]:
        passes = wanted["passes"] or oil.PASSES

        def head(seed: int) -> Floats:
            return oil.oil_temperatures(
                fit, known, test, truth, as_published=job.as_published, seed=seed, passes=passes
            )

        runs = [error(functools.partial(head, seed)) for seed in _seeds(job, wanted["runs"])]
        return float(np.mean([value for value, _ in runs])), runs[0][1]

    def by_month() -> Floats:
        months = month_of_year_predictor(known.mean, clip_label(job.fit, MONTH), clip_label(job.test, MONTH))
        return np.broadcast_to(months[:, None], truth.mean.shape)

    rows = []
    for about, baseline, (value, why) in (
        ("told from d and s", False, heads()),
        (
            "a constant, the training median",
            True,
            error(lambda: np.full_like(truth.mean, constant_predictor(known.mean))),
        ),
        ("the training median of the month", True, error(by_month)),
        ("random forest on the values", True, error(lambda: _forest(job, known, truth))),
    ):
        words = f"{name}, {about}"
        rows.append(_row("mae", value, words, count, baseline=baseline, reason=why, better="lower", unit="degrees"))
    return rows


def _forest(job: Job, known: oil.Windows, truth: oil.Windows) -> Floats:
    """Return what a forest on the mean values in a window, and which they are not known, says of it."""
    x, asked = _windowed(job.fit, known.size), _windowed(job.test, truth.size)
    there = ~np.isnan(known.mean)
    made = forest.numbers(job.seed).fit(x[there], known.mean[there])
    return made.predict(asked.reshape(-1, asked.shape[-1])).reshape(truth.mean.shape)


def _windowed(clips: Clips, size: int) -> Floats:
    missing = np.zeros(clips.x.shape) if clips.mask is None else clips.mask
    values = np.where(missing == 0, clips.x, np.nan)
    parts = [oil.windows(values[:, :, i], clips.lengths, size).mean for i in range(values.shape[2])]
    return np.nan_to_num(np.stack(parts, 2))


def _values(job: Job, name: str) -> tuple[Floats, Floats] | None:
    """Return values (N, V) that lie beside the clips in their folder's files, of the training and the scored part."""
    from diffsda.data.arrays import read_arrays

    paths = [] if job.folder is None else [Path(job.folder) / f"{split}.npz" for split in SPLITS]
    held = {path: read_arrays(path) for path in paths if path.is_file()}
    if not any(name in arrays for arrays in held.values()):
        return None
    found = []
    for part, clips in (("training", job.fit), ("scored", job.test)):
        theirs = [arrays for arrays in held.values() if name in arrays and _of(job, arrays, clips, arrays[name])]
        if not theirs:
            raise InputError(
                f"{job.folder}: {name} is there, but of no part that holds the {part} clips, all of them and in their "
                "order; predict on a whole part of the folder"
            )
        found.append(np.asarray(theirs[0][name], np.float64))
    return found[0], found[1]


def _of(job: Job, arrays: dict[str, Array], clips: Clips, values: Array) -> bool:
    """Tell whether a file's values are of these clips: of the same known numbers, in people's units."""
    if arrays["x"].shape != clips.x.shape or values.shape != clips.x.shape[:2]:
        return False
    known = np.ones(clips.x.shape, bool) if clips.mask is None else clips.mask == 0
    if clips.lengths is not None:
        known &= mask(clips.lengths, clips.frames)[:, :, None]
    return np.allclose(job.back(clips.x, clips.lengths)[known], arrays["x"][known], rtol=1e-3, atol=1e-3)


def _undefined(name: str, known: Array, truth: Array) -> str:
    """Say why an outcome cannot be predicted, or nothing."""
    for part, labels in (("training", known), ("test", truth)):
        values, counts = np.unique(labels, return_counts=True)
        if len(values) and values.max() > 1:
            raise InputError(f"outcome: got values of {name} up to {values.max()}, expected 0, 1 and -1 for not known")
        if len(values) < 2:
            return f"the {part} clips have {len(values)} class{'es' * (len(values) != 1)} of {name}, two are needed"
        if part == "training" and counts.min() < 2:
            return f"one training clip only is of the rarer class of {name}, two are needed to hold one out"
    return ""


def _seeds(job: Job, runs: int) -> range:
    """Return a seed for every head; no head of one of the job's seeds is fitted again for another."""
    return range(job.seed * runs, (job.seed + 1) * runs)


def _mean(measure: Callable[[Array, Floats], float], truth: Array, given: list[Floats]) -> Callable[[], float]:
    return lambda: float(np.mean([measure(truth, one) for one in given]))


def _summary(clips: Clips) -> Floats:
    return forest.summary(clips.x, clips.mask, clips.lengths)


def _row(
    metric: str,
    value: float,
    about: str,
    count: int,
    *,
    baseline: bool,
    reason: str,
    better: Better = "higher",
    unit: str = "share",
) -> Row:
    return Row(
        metric=metric,
        values=(value,),
        unit=unit,
        better=better,
        about=about,
        count=count,
        baseline=baseline,
        reason=reason,
    )
