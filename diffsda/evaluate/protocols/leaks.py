"""How much either factor knows of the other one's labels, as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from diffsda.evaluate.clip_labels import agree, table
from diffsda.evaluate.codes import codes_of
from diffsda.evaluate.job import Job
from diffsda.evaluate.leakage import Leakage, Told, View, cross_leakage
from diffsda.evaluate.result import NAN, Row

VIEWS: dict[View, str] = {"s": "s", "mean": "the mean of d", "frames": "all frames of d"}
PROBE = "mlp"
NO_ROOM = "a judge of real clips is no better than the commonest class"


def leakage_rows(
    job: Job, static: Sequence[str], dynamic: Sequence[str], reason: str, ceilings: Mapping[str, float]
) -> list[Row]:
    """Return the average leakage, what it is made of, and how well every label is told from every factor.

    reason: why a role has no labels. ceilings: by label, how well real clips are read.
    Source: DiViD section 4.2.3.
    """
    agree(job.fit, job.test, (*static, *dynamic))
    roles = [_both(job, names) for names in (static, dynamic)]
    fit, test = (codes_of(job.model, clips, job.batch) for clips in (job.fit, job.test))
    found = cross_leakage(fit, test, *roles, ceilings=ceilings, seed=job.seed)
    told = [one for one in found.told if one.probe == PROBE]
    return [*_averages(found, told, reason), *_labels(told)]


def _both(job: Job, names: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    fit, test = table(job.fit, names), table(job.test, names)
    return {name: (fit[name], test[name]) for name in names}


def _averages(found: Leakage, told: list[Told], reason: str) -> list[Row]:
    """Return the average of both ways, and either way, with d seen as its mean or as all its frames."""
    whole = {one.role for one in told} == {"static", "dynamic"}
    out = []
    for view, ending in (("mean", ""), ("frames", "_frames")):
        seen: View = "mean" if view == "mean" else "frames"
        words = f"labels told from the other factor, both ways; d as {VIEWS[seen]}"
        value = found.average(view=seen) if whole else NAN
        room = found.average(view=seen, normalised=True) if whole else NAN
        guess = found.chance(view=seen) if whole else NAN
        why = "" if whole else reason
        out.append(_row(f"leakage{ending}", value, "lower", words, why))
        part = f"{words}; 0 is chance, 1 as told from real clips"
        out.append(
            _row(f"leakage_normalised{ending}", room, "lower", part, why or (NO_ROOM if math.isnan(room) else ""))
        )
        out.append(_row(f"leakage{ending}", guess, "lower", f"{words}; the commonest class", why, baseline=True))
    return out


def _labels(told: list[Told]) -> list[Row]:
    out, seen = [], set()
    for one in told:
        words = f"{one.label} told from {VIEWS[one.view]}{', the other factor' if one.leaks else ''}"
        better = "lower" if one.leaks else "higher"
        out.append(_row(f"{one.label}_from_{one.view}", one.accuracy, better, words, "", count=one.count))
        if one.label not in seen:
            seen.add(one.label)
            words = f"{one.label}: the commonest class"
            out.append(_row(f"{one.label}_told", one.chance, "neither", words, "", baseline=True, count=one.count))
    return out


def _row(metric: str, value: float, better: Any, about: str, reason: str, **more: Any) -> Row:
    return Row(metric=metric, values=(value,), unit="share", better=better, about=about, reason=reason, **more)
