"""swap-labels: does a reader see the static labels of one donor and the dynamic labels of the other in a swap?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import table, usable
from diffsda.evaluate.job import Job
from diffsda.evaluate.judges.kinds import Reader
from diffsda.evaluate.lengths import Array, Ints, valid
from diffsda.evaluate.pairs import Rows, both, of_job
from diffsda.evaluate.pixels import decibels
from diffsda.evaluate.protocols.leaks import leakage_rows
from diffsda.evaluate.protocols.pictures import pictures
from diffsda.evaluate.protocols.reading import classes_of, reader_of, shown
from diffsda.evaluate.protocols.swaps import WORDS, Part, clips_at, name_of, policies, real, swapped
from diffsda.evaluate.protocols.truth import Truth
from diffsda.evaluate.reconstruction import squared_error
from diffsda.evaluate.result import NAN, Row
from diffsda.tasks.batches import slices

COPIES = ("a copy of the static donor", "a copy of the dynamics donor")


@dataclass
class Tally:
    """What was seen in swaps, a part after the other."""

    pictures: bool
    """Whether clips are pictures, which cannot show values beyond [-1, 1]."""
    found: list[Ints] = field(default_factory=list)
    """The likeliest class of every label, (n, labels)."""
    errors: list[float] = field(default_factory=list)
    """Squared error of every swap against its truth, summed over its values."""
    entries: int = 0

    def add(self, part: Part, reader: Reader, names: tuple[str, ...], truth: Array | None) -> None:
        """Take in some swaps; truth like part.x, or None where there is none."""
        self.found.append(classes_of(reader.read(part.x, part.lengths), names))
        if truth is not None:
            self.compare(part.x, truth, part.lengths)

    def compare(self, x: Array, truth: Array, lengths: Array | None) -> None:
        """Add the error of clips against their truth."""
        error, entries = squared_error(np.clip(x, -1, 1) if self.pictures else x, truth, lengths)
        self.errors += error.tolist()
        self.entries += int(entries.sum())


def run(job: Job) -> list[Row]:
    """Swap pairs of clips in both directions and have a reader of labels, trained on the fitting part, look at them.

    Static accuracy is the share of swaps in which all static labels are read as those of the clip that lent s, dynamic
    accuracy in which all dynamic labels are read as those of the clip that lent d, joint accuracy in which both are.
    Each label has a row of its own. Rows come for the start noise that counts, and for fresh noise or those in
    ``options["noises"]``. Baselines: either donor handed back, the reader on real clips (its ceiling), chance. Where
    the set says what a perfect swap looks like, the error against that, in people's units; and how well probes read the
    labels of the other role from s and from d.
    options: noises, pairs (how many to draw), different (any, every: how pairs must differ), judge_seed, judge, leakage
    (false leaves the probes out).
    Source: DiViD sections 4.2 and 4.3, Table 1.
    Raises: InputError if there is no label of a whole clip, no pair, a label that no reader can learn, or ``reference``
    among the noises: every pair is swapped both ways, and neither clip is the one that the other is compared with.
    """
    chosen = policies(job, others=("fresh",), without=("reference",))
    held = _Labels.of(job)
    pairs = both(of_job(job, own_list=False))
    reader = reader_of(job, held.names)
    try:
        truth, no_truth = Truth(job, pairs), ""
    except InputError as error:
        truth, no_truth = None, str(error)
    scores = _Scores(held, reader, pairs, job)
    out: list[Row] = []
    for policy in chosen:
        tally = Tally(pictures(job))
        for rows, part in _numbered(swapped(job, pairs, policy)):
            tally.add(part, reader, held.names, None if truth is None else truth.part(rows))
        suffix, words = name_of("", policy, chosen[0]), WORDS[policy]
        out += scores.rows(np.concatenate(tally.found), suffix, words)
        out += _errors(tally, suffix, words, no_truth)
    read, ceilings = scores.real()
    out += scores.baselines(read)
    out += _errors_of_copies(job, pairs, truth, no_truth)
    if job.options.get("leakage", True):
        out += leakage_rows(job, held.static, held.dynamic, held.reason, ceilings)
    return out


@dataclass(frozen=True)
class _Labels:
    static: tuple[str, ...]
    dynamic: tuple[str, ...]
    reason: str
    """Why labels of a role are left out, or that there are none."""

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.static, *self.dynamic)

    @classmethod
    def of(cls, job: Job) -> _Labels:
        found = [usable([job.fit, job.test], names) for names in (job.static, job.dynamic)]
        reasons = [
            reason or f"{job.test.name} has no {role} labels"
            for (names, reason), role in zip(found, ("static", "dynamic"), strict=True)
            if not names
        ]
        if len(reasons) == 2:
            raise InputError(f"labels: {'; '.join(reasons)}; expected a label of whole clips: name one")
        return cls(found[0][0], found[1][0], "; ".join(reasons))


@dataclass(frozen=True, eq=False)
class _Scores:
    """What swaps should be read as, and rows of how many are."""

    labels: _Labels
    reader: Reader
    pairs: Rows
    job: Job

    def rows(self, found: Ints, suffix: str, words: str, *, baseline: bool = False) -> list[Row]:
        """Return the rows of classes (P, labels) seen in swaps."""
        test = table(self.job.test, self.labels.names)
        wanted = [shown({name: test[name] for name in role}, donor) for role, donor in self._roles() if role]
        right = found == np.concatenate(wanted, 1)
        return self._shares(right, suffix, words, baseline=baseline)

    def real(self) -> tuple[Ints, dict[str, float]]:
        """Return the classes (N, labels) seen in the clips that are in pairs, -1 for others; and how many are right."""
        held, names = np.unique(np.concatenate(self.pairs)), self.labels.names
        seen = [classes_of(self.reader.read(part.x, part.lengths), names) for part in real(self.job, held)]
        known = np.full((len(self.job.test), len(names)), -1, np.int64)
        known[held] = np.concatenate(seen)
        right = known[held] == shown(table(self.job.test, names), held)
        return known, dict(zip(names, right.mean(axis=0).tolist(), strict=True))

    def baselines(self, known: Ints) -> list[Row]:
        """Return the rows of donors handed back, of real clips and of chance."""
        out = []
        for donor, words in zip(self.pairs, COPIES, strict=True):
            out += self.rows(known[donor], "", words, baseline=True)
        held, names = np.unique(np.concatenate(self.pairs)), self.labels.names
        right = known[held] == shown(table(self.job.test, names), held)
        out += self._shares(right, "", "real clips: the judge's ceiling", baseline=True)
        chance = np.array([1 / len(self.reader.factors[name]) for name in names])
        return [*out, *self._shares(chance[None], "", "chance", baseline=True, product=True)]

    def _roles(self) -> Iterator[tuple[tuple[str, ...], Array]]:
        yield from zip((self.labels.static, self.labels.dynamic), self.pairs, strict=True)

    def _shares(
        self, right: Array, suffix: str, words: str, *, baseline: bool = False, product: bool = False
    ) -> list[Row]:
        """Return the rows of which labels are right (P, labels), or of the chance of each (1, labels)."""
        cut, width = len(self.labels.static), len(self.labels.names)
        groups: dict[str, tuple[str, list[int]]] = {
            "static_accuracy": ("static labels read as the static donor's", list(range(cut))),
            "dynamic_accuracy": ("dynamic labels read as the dynamics donor's", list(range(cut, width))),
            "joint_accuracy": ("both at once", list(range(width)) if 0 < cut < width else []),
        }
        groups |= {f"{name}_accuracy": (f"{name} read as its donor's", [i]) for i, name in enumerate(self.labels.names)}
        out = []
        for metric, (about, columns) in groups.items():
            one = right[:, columns].prod(axis=1) if columns else np.array([NAN])
            out.append(
                Row(
                    metric=metric + suffix,
                    values=(float(one.mean()),),
                    unit="share",
                    better="higher",
                    about=f"{about}; {words}",
                    count=None if product or not columns else len(one),
                    judge="" if product else self.reader.name,
                    substitute=not product and self.reader.substitute,
                    baseline=baseline,
                    reason="" if columns else self.labels.reason,
                )
            )
        return out


def _numbered(parts: Iterable[Part]) -> Iterator[tuple[slice, Part]]:
    start = 0
    for part in parts:
        yield slice(start, start + len(part)), part
        start += len(part)


def _errors_of_copies(job: Job, pairs: Rows, truth: Truth | None, no_truth: str) -> list[Row]:
    out: list[Row] = []
    lengths = valid(job.test.lengths, len(job.test), job.test.frames)
    for donor, words in zip(pairs, COPIES, strict=True):
        tally = Tally(pictures(job))
        for rows in slices(len(donor), job.batch) if truth is not None else ():
            # A donor of another length is compared as far as both go.
            least = np.minimum(lengths[donor[rows]], lengths[pairs[1][rows]])
            assert truth is not None
            tally.compare(clips_at(job, donor[rows]).x, truth.part(rows), least)
        out += _errors(tally, "", words, no_truth, baseline=True)
    return out


def _errors(tally: Tally, suffix: str, words: str, no_truth: str, *, baseline: bool = False) -> list[Row]:
    """Return the rows of the error against the truth; of its ratio for pictures, whose range is known."""
    plain: dict[str, Any] = {"baseline": baseline, "about": f"against the true swap; {words}"}
    error = (
        NAN if no_truth else math.fsum(tally.errors) / tally.entries / (4 if tally.pictures else 1)
    )  # pictures are in [-1, 1]
    unit = "pixels in [0, 1], squared" if tally.pictures else "values, squared"
    out = [Row(metric=f"swap_mse{suffix}", values=(error,), unit=unit, better="lower", reason=no_truth, **plain)]
    if tally.pictures:
        ratio = NAN if no_truth or not error else float(decibels(np.array([error]), 1.0)[0])
        reason = no_truth or ("" if error else "no difference at all: infinite")
        out.append(
            Row(metric=f"swap_psnr{suffix}", values=(ratio,), unit="dB", better="higher", reason=reason, **plain)
        )
    return out
