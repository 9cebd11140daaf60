"""fvd: clips whose factors come from the prior, against real ones: as a judge describes them, and the factors alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from diffsda.errors import InputError, MissingPackage
from diffsda.evaluate.draws import base
from diffsda.evaluate.frechet import frechet_distance, halves
from diffsda.evaluate.job import Job
from diffsda.evaluate.lengths import Array, Floats
from diffsda.evaluate.prior_quality import PriorQuality, prior_quality
from diffsda.evaluate.protocols.cuts import cut_to_prior
from diffsda.evaluate.protocols.pictures import pictures
from diffsda.evaluate.result import NAN, Better, Row
from diffsda.evaluate.tried import tried
from diffsda.factors import Factors
from diffsda.tasks.batches import slices
from diffsda.tasks.encode import encode
from diffsda.tasks.generate import generate

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

SAMPLES, TRAINING = "samples of the prior", "the training part"
DECODED = "factors of the test part, fresh noise: the decoder alone"
SHUFFLED = "s of one training clip, d of another"
UNITS: dict[str, tuple[str, Better]] = {
    "precision": ("share", "higher"),
    "recall": ("share", "higher"),
    "mmd": ("squared discrepancy", "lower"),
}
PARTS: dict[str, tuple[str, Callable[[Factors], Tensor]]] = {
    "": ("z = [s | d]", Factors.pack),
    "_static": ("s", lambda f: f.static),
    "_dynamic": ("d", lambda f: f.dynamic.flatten(1)),
}


def run(job: Job) -> list[Row]:
    """Compare as many samples of the prior as there are test clips with these.

    Clips: Fréchet distance (FVD), precision, recall and kernel distance of what a judge makes of them. Beside the
    samples stand the test clips' own factors with fresh noise, which is what the decoder alone costs, and as baselines
    clips of the training part and the test part's own halves: what remains where there is no difference. Of two sets
    of other sizes as many are compared.

    Factors: precision, recall and kernel distance of z = [s | d_1 .. d_V], of s and of d, no decoder in between, every
    dimension in deviations of the training part. Baselines: factors of the training part, and the same with every
    clip's dynamics those of another, which is what s and d drawn apart come to at best.

    Clips are cut to the prior's number of frames. options: count, of samples and test clips, where not all.
    Source: DiffSDA Table 13 and appendix G.1 for FVD. Differs: without I3D another judge stands in, on another scale.
    Raises: InputError without a prior, or for one of factors of other sizes.
    """
    return Generation(job).rows()


class Generation:
    """Samples of a job's prior and real clips, as a judge and as the encoder describe them."""

    def __init__(self, job: Job) -> None:
        if job.prior is None:
            raise InputError(
                "prior: there is none, expected one to draw samples from; make it with `diffsda train-prior`"
            )
        self.job, self.prior, self.pictures = job, job.prior, pictures(job)
        held, self.notes = cut_to_prior(job)
        self.test = _some(held.test, job.options.get("count", len(held.test)), 0)
        self.count = len(self.test)
        self.fit = _some(held.fit, self.count, job.seed)

    def rows(self) -> list[Row]:
        """Return all rows: those of clips, then those of factors."""
        real, training = (encode(self.job.model, clips, batch=self.job.batch) for clips in (self.test, self.fit))
        # The prior refuses factors of other sizes than its own before anything is sampled.
        self.prior.pack(real.to(self.prior.mean.device))
        drawn = self.prior.sample(self.count, base(self.job.seed, "prior"), track=self.job.track).to("cpu")
        rows = [*self._of_clips(drawn, real), *self._of_factors(drawn, real, training)]
        return [replace(row, notes=(*self.notes, *row.notes)) for row in rows]

    def _of_clips(self, drawn: Factors, real: Factors) -> Iterator[Row]:
        judge, said, reason = self._described(drawn, real)
        named: dict[str, Any] = {} if judge is None else {"judge": judge.name, "substitute": judge.substitute}
        distance: dict[str, Any] = {"metric": "fvd", "unit": "squared distance", "better": "lower", **named}

        def between(key: str) -> tuple[float, str]:
            return (
                (NAN, reason)
                if judge is None
                else tried(lambda: frechet_distance(*self._as_many(said[key], said["test"])))
            )

        systems = ((SAMPLES, "", False), (DECODED, "_real_factors", False), (TRAINING, "", True))
        for words, suffix, baseline in systems:
            count = len(self.fit) if words == TRAINING else self.count
            about = {"about": f"FVD; {words}", "baseline": baseline, "count": count}
            few = _few(said, count)
            yield _row(between(words), **{**distance, **about, "metric": f"fvd{suffix}", "notes": few})
        nothing = (NAN, reason) if judge is None else tried(lambda: halves(said["test"], self.job.seed))
        about = {"about": "FVD; halves of the test part", "baseline": True, "count": self.count // 2}
        about["notes"] = _few(said, self.count // 2)
        yield _row(nothing, **{**distance, **about})
        for words, suffix, baseline in systems:
            count = len(self.fit) if words == TRAINING else self.count
            found = (None, reason) if judge is None else _quality(*self._as_many(said["test"], said[words]))
            yield from _rows(found, "", suffix, f"clips; {words}", baseline=baseline, count=count, **named)

    def _described(self, drawn: Factors, real: Factors) -> tuple[Any, dict[str, Floats], str]:
        """Return the judge and what it says of all sets of clips; None and a reason without one."""
        try:
            judge = self.job.shelf.clip_features()
        except MissingPackage as error:
            return None, {}, str(error)
        said: dict[str, Floats] = {}
        # Real clips first: a judge that cannot look at them is found out before anything is sampled.
        for key, parts in (
            ("test", self._clips(self.test)),
            (TRAINING, self._clips(self.fit)),
            (SAMPLES, self._made(drawn)),
            (DECODED, self._made(real)),
        ):
            rows = []
            for x in parts:
                try:
                    rows.append(np.asarray(judge.describe(x), dtype=np.float64))
                except (InputError, MissingPackage) as error:
                    return None, {}, f"{judge.name}: {error}"
            said[key] = np.concatenate(rows)
        return judge, said, ""

    def _clips(self, clips: Clips) -> Iterator[Array]:
        for r in slices(len(clips), self.job.batch):
            yield self._shown(clips.x[r])

    def _made(self, f: Factors) -> Iterator[Array]:
        """Yield clips with these factors; clip i has noise of its own, the same whatever its factors."""
        job, parts = self.job, list(slices(len(f), self.job.batch))
        progress = job.track(len(parts) * (job.steps or job.model.recipe.sampling.steps))
        for r in parts:
            seed = base(job.seed, "noise") + r.start
            x = generate(job.model, f[r], steps=job.steps, seed=seed, batch=job.batch, track=lambda total: progress)
            yield self._shown(x)

    def _shown(self, x: Array) -> Array:
        x = self.job.back(x, None)
        return np.clip(x, -1, 1) if self.pictures else x

    def _as_many(self, one: Array, other: Array) -> tuple[Array, Array]:
        """Return as many rows of both, drawn where there are more: a distance depends on how many it is of."""
        draw, least = np.random.default_rng(self.job.seed), min(len(one), len(other))
        kept = [x if len(x) == least else x[np.sort(draw.choice(len(x), least, replace=False))] for x in (one, other)]
        return kept[0], kept[1]

    def _of_factors(self, drawn: Factors, real: Factors, training: Factors) -> Iterator[Row]:
        # Rolled by one, every clip gets another's dynamics.
        shuffled = Factors(training.static, training.dynamic.roll(1, dims=0))
        for suffix, (whose, flat) in PARTS.items():
            scale = flat(training).double().std(0, correction=0).numpy()
            systems = [(SAMPLES, drawn, False), (TRAINING, training, True)]
            # Taken by themselves, neither s nor d is changed by being put to another.
            systems += [] if suffix else [(SHUFFLED, shuffled, True)]
            for words, held, baseline in systems:
                found = _quality(*self._as_many(flat(real).numpy(), flat(held).numpy()), scale)
                words = f"{whose}; {words}"
                yield from _rows(found, "prior_", suffix, words, baseline=baseline, count=len(held))


def _some(clips: Clips, count: int, seed: int) -> Clips:
    """Return that many clips at most, drawn by a seed, in the order they came in."""
    if not isinstance(count, int) or count < 1:
        raise InputError(f"count: got {count!r}, expected a whole number of clips, at least 1")
    if len(clips) <= count:
        return clips
    return clips.select(np.sort(np.random.default_rng(seed).choice(len(clips), count, replace=False)))


def _few(said: dict[str, Floats], count: int) -> tuple[str, ...]:
    """Say so where a distance is of fewer clips than the judge has features, or nothing."""
    width = said["test"].shape[1] if "test" in said else 0
    if count >= width:
        return ()
    return (
        f"of {count} clips described by {width} numbers each: with fewer clips than numbers a distance is too large",
    )


def _quality(real: Array, made: Array, scale: Array | None = None) -> tuple[PriorQuality | None, str]:
    """Return how good samples are, or why that is not defined."""
    try:
        return prior_quality(real, made, scale=scale), ""
    except InputError as error:
        return None, str(error)


def _rows(found: tuple[PriorQuality | None, str], prefix: str, suffix: str, words: str, **about: Any) -> Iterator[Row]:
    quality, reason = found
    for name, (unit, better) in UNITS.items():
        value = NAN if quality is None else getattr(quality, name)
        yield _row(
            (value, reason),
            metric=f"{prefix}{name}{suffix}",
            about=f"{name} of {words}",
            unit=unit,
            better=better,
            **about,
        )


def _row(found: tuple[float, str], **about: Any) -> Row:
    value, reason = found
    return Row(values=(value,), reason=reason, **about)
