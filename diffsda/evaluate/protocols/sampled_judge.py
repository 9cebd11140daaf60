"""judge: one factor drawn from the prior, the other kept; does a reader see what was kept, and variety in the rest?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import labelled, table, usable
from diffsda.evaluate.draws import base
from diffsda.evaluate.inception import (
    balanced,
    conditional_entropy,
    inception_score,
    judged_accuracy,
    marginal_entropy,
)
from diffsda.evaluate.job import Job
from diffsda.evaluate.judges.kinds import Reader
from diffsda.evaluate.lengths import Floats, Ints
from diffsda.evaluate.protocols.cuts import cut_to_prior, misfit
from diffsda.evaluate.protocols.pictures import pictures
from diffsda.evaluate.protocols.reading import Read, classes_of, read, reader_of
from diffsda.evaluate.protocols.swaps import Part, clips_at, real
from diffsda.evaluate.reconstruction import squared_error
from diffsda.evaluate.result import NAN, Better, Row
from diffsda.tasks.batches import slices
from diffsda.tasks.generate import unconditional_swap
from diffsda.tasks.reconstruct import reconstruct

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

Factor = Literal["static", "dynamic"]

SCORES: tuple[tuple[str, Callable[[Floats], float], str, Better], ...] = (
    ("inception_score", inception_score, "classes", "higher"),
    ("conditional_entropy", conditional_entropy, "nats", "lower"),
    ("marginal_entropy", marginal_entropy, "nats", "higher"),
)
CEILING = "real clips: the judge's ceiling"


@dataclass(frozen=True)
class Direction:
    """One factor drawn, the other kept."""

    drawn: Factor
    about: str
    suffix: str
    """What names of metrics end in; the table's, of actions kept, are plain."""
    kept: tuple[str, ...]
    """Labels of what is kept."""
    gone: tuple[str, ...]
    """Labels of what is drawn."""
    reason: str
    """Why there is no label of what is kept."""
    misfit: str
    """Why the factor cannot be drawn for these clips."""


def run(job: Job) -> list[Row]:
    """Draw s from the prior with the dynamics of test clips kept, and the other way; a reader says what it sees.

    Of the labels that were kept: accuracy over all clips (of all of them at once, where there are several); inception
    score, H(y|x) and H(y) over as many clips of every class. Of the labels that were drawn: how often they are still
    read as the clip's, which should be by chance. Baselines: the reader on real clips, and chance. The table's last
    column is the error of reconstructions from their own noise, for pictures.
    Clips are cut to the prior's number of frames; where none is as long, the rows of drawn dynamics are undefined.
    options: judge, judge_seed, noise (where swaps start: auto, own, fresh, shared), prior_steps.
    Source: DiffSDA Table 9, after DBSE's evaluation. Differs: that balances by subject and averages passes over the
    test part, which here are seeds.
    Raises: InputError without a prior, without labels of whole clips, or for labels no reader can learn.
    """
    if job.prior is None:
        raise InputError("prior: got none, expected one to draw factors from; train it with `diffsda train-prior`")
    notes: tuple[str, ...] = ()
    if not any(misfit(job.prior, clips) for clips in (job.test, job.fit)):
        job, notes = cut_to_prior(job)
    return [replace(row, notes=notes) for row in _scored(job)]


def _scored(job: Job) -> list[Row]:
    ways = _directions(job)
    names = (*ways[1].kept, *ways[0].kept)
    if not names:
        raise InputError(f"labels: {ways[0].reason}; {ways[1].reason}; expected a label of whole clips: name one")
    reader = reader_of(job, names)
    labels = table(job.test, names)
    rows = np.flatnonzero(labelled(labels, len(job.test)))
    if not rows.size:
        raise InputError("labels: no test clip has all of them, expected some; name fewer")
    scores = _Scores(job, reader, {name: label[rows] for name, label in labels.items()})
    clips, ceiling = job.test.select(rows), read(reader, real(job, rows))
    out: list[Row] = []
    for way in ways:
        said = way.misfit or read(reader, _drawn(job, clips, way.drawn))
        out += scores.rows(said, way, way.about)
        out += scores.gone(said, way)
        out += scores.rows(ceiling, way, CEILING, baseline=True)
        out += scores.chance(way)
    return [*out, *_reconstruction(job, clips, rows)]


def _directions(job: Job) -> tuple[Direction, Direction]:
    static, no_static = usable([job.fit, job.test], job.static)
    dynamic, no_dynamic = usable([job.fit, job.test], job.dynamic)
    no_static = "" if static else no_static or f"{job.test.name} has no static labels"
    no_dynamic = "" if dynamic else no_dynamic or f"{job.test.name} has no dynamic labels"
    assert job.prior is not None
    why = misfit(job.prior, job.test) or misfit(job.prior, job.fit)
    return (
        Direction("static", "s drawn, d of x kept", "", dynamic, static, no_dynamic, ""),
        Direction("dynamic", "d drawn, s of x kept", "_static_frozen", static, dynamic, no_static, why),
    )


def _drawn(job: Job, clips: Clips, factor: Factor) -> Iterator[Part]:
    """Yield clips with one factor drawn from the prior; clip i has draws of its own, whatever the batch."""
    assert job.prior is not None
    parts = list(slices(len(clips), job.batch))
    noise_seed, prior_seed = base(job.seed, "noise"), base(job.seed, "prior")
    noise = job.options.get("noise", "auto")
    twice = noise == "own" or (noise == "auto" and factor == "static")
    steps = job.steps or job.model.recipe.sampling.steps
    progress = job.track(len(parts) * steps * (2 if twice else 1))
    for r in parts:
        given = clips.select(r)
        made = unconditional_swap(
            job.model,
            job.prior,
            given,
            factor,
            noise=noise,
            steps=job.steps,
            prior_steps=job.options.get("prior_steps"),
            seed=noise_seed + r.start,
            prior_seed=prior_seed + r.start,
            batch=job.batch,
            track=lambda total: progress,
        )
        yield Part.of(job, made, given.lengths)


def _reconstruction(job: Job, clips: Clips, rows: Ints) -> list[Row]:
    """Return the row of the error of reconstructed pictures."""
    if not pictures(job):
        return []
    errors: list[float] = []
    entries = 0
    parts = list(slices(len(clips), job.batch))
    progress = job.track(len(parts) * 2 * (job.steps or job.model.recipe.sampling.steps))
    for r in parts:
        given, wanted = clips.select(r), clips_at(job, rows[r])
        seed = base(job.seed, "noise") + r.start
        made = reconstruct(job.model, given, steps=job.steps, seed=seed, batch=job.batch, track=lambda total: progress)
        error, values = squared_error(Part.of(job, made, given.lengths).x, wanted.x, given.lengths)
        errors += error.tolist()
        entries += int(values.sum())
    about, unit = "clips from their own start noise", "pixels in [0, 1], squared"
    total = math.fsum(errors) / entries / 4  # from [-1, 1]
    return [
        Row(
            metric="reconstruction_mse",
            values=(total,),
            unit=unit,
            better="lower",
            about=about,
            count=len(clips),
        )
    ]


class _Scores:
    """Rows of what a reader says of clips whose labels are known."""

    def __init__(self, job: Job, reader: Reader, labels: dict[str, Ints]) -> None:
        self.job, self.reader, self.labels = job, reader, labels

    def rows(self, said: Read | str, way: Direction, about: str, *, baseline: bool = False) -> list[Row]:
        """Return accuracy and scores of the labels that were kept; said: what was read, or why nothing was."""
        if not way.kept:
            return [self._row(f"accuracy{way.suffix}", NAN, f"{about}; labels kept", baseline, reason=way.reason)]
        wanted = np.stack([self.labels[name] for name in way.kept], 1)
        value, why = NAN, said if isinstance(said, str) else ""
        if not isinstance(said, str):
            value = float((classes_of(said, way.kept) == wanted).all(axis=1).mean())
        words = f"{about}; {', '.join(way.kept)} read as kept"
        out = [self._row(f"accuracy{way.suffix}", value, words, baseline, count=len(wanted), reason=why)]
        for name in way.kept:
            out += self._of_label(
                said if isinstance(said, str) else said[name], name, way, f"{about}; {name}", baseline
            )
        return out

    def gone(self, said: Read | str, way: Direction) -> list[Row]:
        """Return how often labels of the factor that was drawn are still read as the clip's own."""
        out = []
        for name in way.gone:
            value, why = NAN, said if isinstance(said, str) else ""
            if not isinstance(said, str):
                value = judged_accuracy(said[name], self.labels[name])
            plain: dict[str, Any] = {"better": "lower", "count": len(self.labels[name]), "reason": why}
            out.append(
                self._row(f"still_{name}", value, f"{way.about}; {name} read as that of x still", False, **plain)
            )
        return out

    def chance(self, way: Direction) -> list[Row]:
        """Return the accuracy of a guess, where a label was kept."""
        if not way.kept:
            return []
        value = float(np.prod([1 / len(self.reader.factors[name]) for name in way.kept]))
        about, metric = f"chance; {', '.join(way.kept)}", f"accuracy{way.suffix}"
        return [Row(metric=metric, values=(value,), unit="share", better="higher", about=about, baseline=True)]

    def _of_label(self, said: Floats | str, name: str, way: Direction, about: str, baseline: bool) -> list[Row]:
        ending = way.suffix + (f"_{name}" if len(way.kept) > 1 else "")
        out = []
        if len(way.kept) > 1:
            value = NAN if isinstance(said, str) else judged_accuracy(said, self.labels[name])
            held, why = len(self.labels[name]), said if isinstance(said, str) else ""
            out.append(self._row(f"accuracy{ending}", value, about, baseline, count=held, reason=why))
        # Scores of several classes need clips of several.
        some = len(np.unique(self.labels[name])) > 1
        rows = balanced(self.labels[name], self.job.seed) if some else np.zeros(0, np.int64)
        for metric, score, unit, better in SCORES:
            plain: dict[str, Any] = {"unit": unit, "better": better, "count": len(rows)}
            reason = "" if some else f"all test clips have one {name}"
            value = NAN
            if isinstance(said, str):
                reason = said
            elif some:
                value = score(said[rows])
            out.append(self._row(metric + ending, value, f"{about}, balanced", baseline, reason=reason, **plain))
        return out

    def _row(self, metric: str, value: float, about: str, baseline: bool, **more: Any) -> Row:
        usual: dict[str, Any] = {"unit": "share", "better": "higher", "about": about, "baseline": baseline}
        judge = {"judge": self.reader.name, "substitute": self.reader.substitute}
        return Row(metric=metric, values=(value,), **{**usual, **judge, **more})
