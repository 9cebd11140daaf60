"""multifactor: with one factor kept and the other replaced, do its labels stay and the other's go, frame by frame?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import labelled, table, usable
from diffsda.evaluate.draws import base
from diffsda.evaluate.inception import judged_accuracy
from diffsda.evaluate.job import Job
from diffsda.evaluate.judges.kinds import Reader
from diffsda.evaluate.lengths import Array, Floats, Ints
from diffsda.evaluate.multifactor import (
    consistency_over_time,
    consistency_with_clip,
    consistency_with_label,
    multifactor_swap_score,
)
from diffsda.evaluate.pairs import Rows, of_job
from diffsda.evaluate.protocols.cuts import other_lengths
from diffsda.evaluate.protocols.reading import reader_of
from diffsda.evaluate.protocols.swaps import Part, real, swapped
from diffsda.evaluate.result import NAN, Better, Row
from diffsda.evaluate.tried import tried
from diffsda.tasks.batches import slices
from diffsda.tasks.generate import unconditional_swap

COUNT = 500
"""Clips looked at where nobody says how many."""
NO_PRIOR = "there is no prior to sample from; train one, or name it with --prior"
Kind = Literal["swap", "sample"]
BETTER: dict[str, Better] = {"kept": "higher", "replaced": "neither"}
WORDS: dict[Kind, str] = {"swap": "another clip's", "sample": "sampled from the prior"}


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the judge saw in P clips: by label probabilities (P, K), and of static labels those of frames (P, V, K)."""

    clips: Mapping[str, Floats]
    frames: Mapping[str, Floats]
    lengths: Array | None


def run(job: Job) -> list[Row]:
    """Keep s and replace d, then the other way round, and have a reader of labels, trained on the fitting part, look.

    What replaces a factor is that of another clip, drawn at random (``swap``), or a sample of the prior (``sample``).
    ``two_factor_swap`` and ``two_factor_sample`` are the benchmark's scores; the rows ``..._kept_LABEL`` and
    ``..._replaced_LABEL`` are the accuracies they are made of, both against the clip's own label, so that a replaced
    one is to be right by chance only; ``swap_given_LABEL`` is against the label of the clip that lent the factor.
    Consistency is of static labels over the frames of clips with s kept: with the clip's label, with what most of its
    frames are read as, and between neighbouring frames. Baselines: labels of perfect swaps, x and its partner handed
    back, chance, real clips.
    options: count (of clips that are a pair with the next one), or pairs (how many to draw of clips that differ in both
    roles); judge_seed, judge.
    Source: the MSD benchmark. Differs: its codes are cut into a part a label by a mapping that is looked for; here
    the parts are s and d, as its TwoFactor variants have them.
    Raises: InputError if there is no static or no dynamic label of whole clips, too few clips that have them, one that
    no reader can learn, or count and pairs both.
    """
    static, dropped_static = usable([job.fit, job.test], job.static)
    dynamic, dropped_dynamic = usable([job.fit, job.test], job.dynamic)
    for role, names, why in (("static", static, dropped_static), ("dynamic", dynamic, dropped_dynamic)):
        if not names:
            raise InputError(f"labels: got no {role} one ({why or 'none was named'}), expected one of whole clips")
    labels = table(job.test, (*static, *dynamic))
    pairs = _pairs(job, labels)
    judge = _Judge(job, static, dynamic, labels, pairs, reader_of(job, tuple(labels), frame_labels=static))
    out: list[Row] = []
    for kind in WORDS:
        seen = {"static": judge.made(kind, "static"), "dynamic": judge.made(kind, "dynamic")}
        about = f"the other factor is {WORDS[kind]}"
        out += [*judge.rows(kind, seen, about), *judge.consistency(kind, seen["static"], about)]
    out += judge.baselines()
    dropped = [name for name in (*job.static, *job.dynamic) if name not in labels]
    reason = "; ".join(filter(None, (dropped_static, dropped_dynamic)))
    return [*out, *(judge.row(f"swap_kept_{name}", NAN, "higher", f"{name} as x has it", reason) for name in dropped)]


@dataclass(frozen=True, eq=False)
class _Judge:
    """A reader, what it is to see, and rows of what it sees."""

    job: Job
    static: tuple[str, ...]
    dynamic: tuple[str, ...]
    labels: Mapping[str, Ints]
    pairs: Rows
    reader: Reader

    @property
    def names(self) -> tuple[str, ...]:
        """All labels."""
        return (*self.static, *self.dynamic)

    @property
    def classes(self) -> dict[str, int]:
        """How many classes the reader knows, by label."""
        return {name: len(self.reader.factors[name]) for name in self.names}

    def made(self, kind: Kind, kept: Literal["static", "dynamic"]) -> _Seen | str:
        """Return what is seen in clips of which one factor was kept, or why there are none."""
        if kind == "swap":
            policy = self.job.start
            return self._look(swapped(self.job, self.pairs, policy, "static" if kept == "static" else "dynamics"))
        if self.job.prior is None:
            return NO_PRIOR
        if kept == "static" and (reason := other_lengths(self.job.prior, self.job.test)):
            return reason  # swaps are scored all the same
        return self._look(_sampled(self.job, self.pairs[0], "dynamic" if kept == "static" else "static"))

    def rows(self, kind: Kind, seen: Mapping[str, _Seen | str], about: str, *, baseline: bool = False) -> list[Row]:
        """Return the score and the accuracies it is made of."""
        kept = {"static": self.static, "dynamic": self.dynamic}
        why = next((one for one in seen.values() if isinstance(one, str)), "")
        shares = {
            part: {name: NAN if isinstance(one, str) else self._share(one, name, 0) for name in self.names}
            for part, one in seen.items()
        }
        score = (NAN, why) if why else tried(lambda: multifactor_swap_score(shares, kept, self.classes))
        plain: dict[str, Any] = {"baseline": baseline}
        out = [self.row(f"two_factor_{kind}", score[0], "higher", about, score[1], **plain)]
        for part, one in seen.items():
            reason = one if isinstance(one, str) else ""
            for name in self.names:
                word = "kept" if name in kept[part] else "replaced"
                words = f"{name} as x has it; {about}"
                out.append(self.row(f"{kind}_{word}_{name}", shares[part][name], BETTER[word], words, reason, **plain))
                if kind == "swap" and word == "replaced":
                    value = NAN if isinstance(one, str) else self._share(one, name, 1)
                    words = f"{name} as the partner has it; {about}"
                    out.append(self.row(f"swap_given_{name}", value, "higher", words, reason, **plain))
        return out

    def baselines(self) -> list[Row]:
        """Return the rows of what is no model's work."""
        x, partner = (self._look(real(self.job, rows)) for rows in self.pairs)
        about = "x handed back: nothing is replaced"
        out = self.rows("swap", {"static": x, "dynamic": x}, about, baseline=True)
        out += self.consistency("swap", x, about, baseline=True)
        out += self.rows("swap", {"static": partner, "dynamic": partner}, "the partner handed back", baseline=True)
        alike = {
            name: float(np.mean(np.equal(*(label[rows] for rows in self.pairs)))) for name, label in self.labels.items()
        }
        guess = {name: 1 / count for name, count in self.classes.items()}
        out += self._by_labels("labels of perfect swaps of these pairs", dict.fromkeys(self.names, 1.0), alike)
        return out + self._by_labels("chance", guess, guess)

    def _by_labels(self, about: str, right: Mapping[str, float], wrong: Mapping[str, float]) -> list[Row]:
        """Return the rows of known accuracies, by label: ``right`` of what is kept, ``wrong`` of what is replaced."""
        kept = {"static": self.static, "dynamic": self.dynamic}
        shares = {part: {n: right[n] if n in held else wrong[n] for n in self.names} for part, held in kept.items()}
        score, why = tried(lambda: multifactor_swap_score(shares, kept, self.classes))
        out = [self.row("two_factor_swap", score, "higher", about, why, baseline=True, judged=False)]
        for name in self.names:
            for word, value in (("kept", right[name]), ("replaced", wrong[name])):
                words = f"{name} as x has it; {about}"
                out.append(self.row(f"swap_{word}_{name}", value, BETTER[word], words, baseline=True, judged=False))
        return out

    def row(
        self,
        metric: str,
        value: float,
        better: Better,
        about: str,
        reason: str = "",
        *,
        baseline: bool = False,
        judged: bool = True,
    ) -> Row:
        """Return a row of a share of the clips, or of their frames."""
        return Row(
            metric=metric,
            values=(value,),
            unit="share",
            better=better,
            about=about,
            count=len(self.pairs[0]),
            judge=self.reader.name if judged else "",
            substitute=judged and self.reader.substitute,
            baseline=baseline,
            reason=reason,
        )

    def _share(self, seen: _Seen, name: str, donor: int) -> float:
        return judged_accuracy(seen.clips[name], self.labels[name][self.pairs[donor]])

    def consistency(self, kind: Kind, seen: _Seen | str, about: str, *, baseline: bool = False) -> list[Row]:
        """Return how steady static labels are over the frames of clips with s kept."""
        out = []
        for name in self.static:
            truth = self.labels[name][self.pairs[0]]
            for how, words, measure in (
                ("", f"{name} of frames as x has it", lambda probs, n, y=truth: consistency_with_label(probs, y, n)),
                ("_with_clip", f"frames read as most of their clip are, {name}", consistency_with_clip),
                ("_over_time", f"neighbouring frames read alike, {name}", consistency_over_time),
            ):
                value, why = tried(partial(self._steady, seen, name, measure))
                metric = f"{kind}_consistency{how}_{name}"
                out.append(self.row(metric, value, "higher", f"{words}; {about}", why, baseline=baseline))
        return out

    def _steady(self, seen: _Seen | str, name: str, measure: Callable[[Floats, Array | None], float]) -> float:
        if isinstance(seen, str):
            raise InputError(seen)
        if name not in seen.frames:
            raise InputError(f"judge {self.reader.name}: does not read {name} of single frames")
        return measure(seen.frames[name], seen.lengths)

    def _look(self, parts: Iterable[Part]) -> _Seen:
        clips: dict[str, list[Array]] = {name: [] for name in self.names}
        frames: dict[str, list[Array]] = {}
        lengths: list[Array | None] = []
        for part in parts:
            said = self.reader.read(part.x, part.lengths)
            for name in self.names:
                clips[name].append(said[name])
            for name, probs in self.reader.read_frames(part.x, part.lengths).items():
                frames.setdefault(name, []).append(probs)
            lengths.append(part.lengths)
        known = [one for one in lengths if one is not None]
        return _Seen(
            {name: np.concatenate(probs) for name, probs in clips.items()},
            {name: np.concatenate(probs) for name, probs in frames.items()},
            np.concatenate(known) if known else None,
        )


def _pairs(job: Job, labels: Mapping[str, Ints]) -> Rows:
    """Return rows of clips and of a partner each: those given or asked for, or any two that have all labels."""
    if {"count", "pairs"} <= set(job.options):
        raise InputError(
            "pairs: got clips to count (--set count) and pairs to draw (--draw-pairs or --set pairs), expected one of "
            "them"
        )
    if job.pairs is not None or "pairs" in job.options:
        first, second = of_job(job, own_list=False)
        known = labelled(labels, len(job.test))
        if not (known[first] & known[second]).all():
            raise InputError("pairs: a clip of them lacks a label, expected all labels of every clip in pairs")
        return first, second
    rows = np.flatnonzero(labelled(labels, len(job.test)))
    if len(rows) < 2:
        raise InputError(f"labels: got {len(rows)} test clips with {', '.join(labels)}, expected two at least")
    drawn = np.random.default_rng(job.seed).permutation(rows)[: max(int(job.options.get("count", COUNT)), 2)]
    return drawn, np.roll(drawn, 1)


def _sampled(job: Job, rows: Ints, replace: Literal["static", "dynamic"]) -> Iterator[Part]:
    """Yield clips with one factor from the prior, in people's units."""
    assert job.prior is not None
    parts = list(slices(len(rows), job.batch))
    steps = job.steps or job.model.recipe.sampling.steps
    progress = job.track(len(parts) * steps * (2 if replace == "static" else 1))
    for r in parts:
        clips = job.test.select(rows[r])
        made = unconditional_swap(
            job.model,
            job.prior,
            clips,
            replace,
            steps=job.steps,
            seed=base(job.seed, "noise") + r.start,
            prior_seed=base(job.seed, "prior") + r.start,
            batch=job.batch,
            track=lambda total: progress,
        )
        yield Part.of(job, made, clips.lengths)
