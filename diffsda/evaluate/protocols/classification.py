"""Tables 5 and 15: what a clip keeps (ICU unit, month, ...), told from s alone by a small network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate import forest
from diffsda.evaluate.classification import accuracy, balanced_accuracy, chance, majority
from diffsda.evaluate.clip_labels import agree, clip_label
from diffsda.evaluate.codes import Codes, codes_of
from diffsda.evaluate.heads.static_class import LR, PASSES, PUBLISHED, published, static_classes
from diffsda.evaluate.job import Job
from diffsda.evaluate.lengths import Array, Floats
from diffsda.evaluate.result import NAN, Row
from diffsda.evaluate.settings import settings
from diffsda.evaluate.tried import tried

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

RUNS = 3
"""Heads fitted a seed; their mean counts."""


def run(job: Job) -> list[Row]:
    """Tell every static label from s; beside it chance, the commonest class, and a forest on the values themselves.

    Clips without the label are left out. A class of the test part that is not in the training part counts as told
    wrong.
    Options: runs (heads a seed, 3), passes (205, of which the authors count five as an epoch), lr (1e-3).
    as_published: the authors' passes, batch and runs for the set (Air Quality has its own, what is neither that nor
    PhysioNet is fitted as PhysioNet and its rows say so), the model's rate, and heads that go on with the one before.
    Differs: accuracy is of all clips; the authors average it over batches, of which the last may be smaller.
    Raises: InputError if there is no static label, the clips do not have it, or its classes have other names in the two
    parts.
    """
    if not job.static:
        known = ", ".join(job.test.labels) or "none"
        raise InputError(f"--static: got no label to tell, expected one of those of the clips: {known}")
    usual = {"runs": RUNS, "passes": PASSES, "lr": LR}
    if job.as_published:
        theirs = published(job.test.name)
        usual = {"runs": theirs.runs, "passes": theirs.passes, "lr": job.model.recipe.optim.lr}
    wanted = settings(job.options, **usual)
    agree(job.fit, job.test, job.static)
    fit, test = (codes_of(job.model, clips, job.batch) for clips in (job.fit, job.test))
    return [row for name in job.static for row in _rows(job, wanted, name, fit, test)]


def _rows(job: Job, wanted: dict[str, Any], name: str, fit: Codes, test: Codes) -> list[Row]:
    known, truth = clip_label(job.fit, name), clip_label(job.test, name)
    ours, asked = np.flatnonzero(known >= 0), np.flatnonzero(truth >= 0)
    known, truth = known[ours], truth[asked]
    reason = _undefined(name, known, truth)

    def heads() -> list[Array]:
        runs = static_classes(
            fit.select(ours),
            known,
            test.select(asked),
            runs=wanted["runs"],
            as_published=job.as_published,
            # No head of one seed is fitted again for another.
            seed=job.seed * wanted["runs"],
            passes=wanted["passes"],
            batch=published(job.test.name).batch if job.as_published else None,
            lr=wanted["lr"],
        )
        return list(runs)

    def trees() -> list[Array]:
        made = forest.classes(job.seed).fit(_summary(job.fit)[ours], known)
        return [made.predict(_summary(job.test)[asked])]

    about = name.replace("_", " ")
    as_on = ", fitted as on physionet" if job.as_published and job.test.name not in PUBLISHED else ""
    rows = []
    for tell, words, baseline in ((heads, f"told from s{as_on}", False), (trees, "random forest on the values", True)):
        if job.test.video and baseline:
            continue  # a forest on pixels says nothing of what can be told
        given = [] if reason else tell()
        for metric, measure in (("accuracy", accuracy), ("balanced_accuracy", balanced_accuracy)):
            value, why = (NAN, reason) if reason else tried(_mean(measure, truth, given))
            row = _row(f"{metric}_{name}", value, f"{about}, {words}", len(asked), why)
            rows.append(replace(row, baseline=baseline))
    for words, guess in (
        ("a guess", lambda: chance(len(np.unique(known)))),
        ("always the commonest class", lambda: majority(known, truth)),
    ):
        value, why = tried(guess)
        row = _row(f"accuracy_{name}", value, f"{about}, {words}", len(asked), why)
        rows.append(replace(row, baseline=True))
    return rows


def _mean(measure: Callable[[Array, Array], float], truth: Array, given: list[Array]) -> Callable[[], float]:
    return lambda: float(np.mean([measure(truth, one) for one in given]))


def _row(metric: str, value: float, about: str, count: int, reason: str) -> Row:
    return Row(metric=metric, values=(value,), unit="share", better="higher", about=about, count=count, reason=reason)


def _undefined(name: str, known: Array, truth: Array) -> str:
    """Say why a label cannot be told, or nothing."""
    if not len(truth):
        return f"no test clip has the label {name}"
    values, counts = np.unique(known, return_counts=True)
    if len(values) < 2:
        return f"the training clips have {len(values)} class{'es' * (len(values) != 1)} of {name}, two are needed"
    return "" if counts.max() > 1 else f"no two training clips share a class of {name}, so that none can be held out"


def _summary(clips: Clips) -> Floats:
    return forest.summary(clips.x, clips.mask, clips.lengths)
