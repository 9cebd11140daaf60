"""reconstruction: clips taken apart and put together again, from all their noise and from the factors alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from diffsda.errors import InputError, MissingPackage
from diffsda.evaluate.draws import base
from diffsda.evaluate.identity import average_euclidean_distance
from diffsda.evaluate.job import Job
from diffsda.evaluate.judges.kinds import Embedder
from diffsda.evaluate.keypoints import average_keypoint_distance
from diffsda.evaluate.lengths import Array, Floats, valid
from diffsda.evaluate.measured import Measured
from diffsda.evaluate.pixels import decibels
from diffsda.evaluate.protocols.pictures import pictures
from diffsda.evaluate.protocols.swaps import Part, frames_of
from diffsda.evaluate.reconstruction import squared_error
from diffsda.evaluate.result import NAN, Row
from diffsda.tasks.batches import slices
from diffsda.tasks.reconstruct import reconstruct

KINDS = ("faces", "bodies")
NOTHING = "in no frame was anything found on both sides"
LATENTS = "the clips are latents, which nobody can look at; name the first stage they were made with"


def run(job: Job) -> list[Row]:
    """Compare reconstructions with the clips: MSE and PSNR of pixels, AED and AKD by judges, frame by frame.

    The own start noise of a clip holds what the factors do not, so its error says how exact the solver is; fresh noise
    says what the factors alone hold. Baselines: the mean frame of the training part, each clip's first frame repeated
    and, with ``originals``, the first stage without a model.

    Pixels are in [0, 1]. Clips that are no pictures are compared in the model's units (deviation 0.5), where missing
    values do not count. Without ``originals`` a model of latents is compared with what its first stage makes of the
    latents.
    options: kind (faces, bodies), size (of frames as judges see them).
    Source: DiffSDA Tables 3 and 17, appendix E. Differs: fresh noise and baselines are not in the paper.
    Raises: InputError for an unknown kind, or originals that do not fit.
    """
    return Reconstructions(job).rows()


@dataclass(frozen=True)
class _System:
    """What hands clips back, good or bad."""

    suffix: str
    """Of its metrics' names."""
    about: str
    baseline: bool
    make: Callable[[slice, Array], Array]
    """Rows of ``test`` and what they should look like in, clips (n, V, ...) out: pictures, or the model's units."""


@dataclass
class _Found:
    """What was seen of a system so far."""

    total: float = 0.0
    entries: int = 0
    vectors: list[Floats] = field(default_factory=list)
    points: list[Floats] = field(default_factory=list)


class _Witness:
    """A judge if there is one, else why there is none; one that turns out not to be there on first use is none."""

    def __init__(self, shelf: Callable[[], Any]) -> None:
        self.judge: Any = None
        self.reason = ""
        try:
            self.judge = shelf()
        except MissingPackage as error:
            self.reason = str(error)

    def look(self, method: str, frames: Array) -> Floats | None:
        """Return what the judge says of frames, or None without one."""
        if self.judge is None:
            return None
        try:
            return np.asarray(getattr(self.judge, method)(frames), dtype=np.float64)
        except MissingPackage as error:
            self.judge, self.reason = None, str(error)
            return None


class Reconstructions:
    """The reconstructions of a job's test clips, a batch at a time, and how far they are off."""

    def __init__(self, job: Job) -> None:
        self.job = job
        kind = job.options.get("kind", "faces")
        if kind not in KINDS:
            raise InputError(f"kind: got {kind!r}, expected {' or '.join(KINDS)}")
        self.bodies = kind == "bodies"
        self.size: int | None = job.options.get("size")
        self.parts = list(slices(len(job.test), job.batch))
        self.pictures = pictures(job)
        self.originals = _originals(job, self.pictures)
        self.identity = _Witness(self._people if self.bodies else job.shelf.faces) if self.pictures else None
        self.points = _Witness(job.shelf.bodies if self.bodies else job.shelf.landmarks) if self.pictures else None
        self._wanted: tuple[list[Floats], list[Floats]] = ([], [])

    def _people(self) -> Embedder:
        return self.job.shelf.people(as_published=self.job.as_published)

    def rows(self) -> list[Row]:
        """Return all rows, systems one after the other."""
        systems = list(self._systems())
        found = [_Found() for _ in systems]
        for r in self.parts:
            wanted = self._wanted_at(r)
            said = self._look(wanted, r)
            self._keep(said, *self._wanted)
            for system, held in zip(systems, found, strict=True):
                made = system.make(r, wanted)
                total, entries = squared_error(made, wanted, self._lengths(r), self._missing(r))
                held.total, held.entries = held.total + float(total.sum()), held.entries + int(entries.sum())
                self._keep(self._look(made, r), held.vectors, held.points)
        return [row for system, held in zip(systems, found, strict=True) for row in self._rows(system, held)]

    def _systems(self) -> Iterator[_System]:
        steps, parts = self.job.steps or self.job.model.recipe.sampling.steps, len(self.parts)
        # Inverting takes as many steps as sampling.
        progress = self.job.track(parts * steps * 3)
        mean = self._mean_frame()

        def model(noise: Literal["own", "fresh"]) -> Callable[[slice, Array], Array]:
            def make(r: slice, wanted: Array) -> Array:
                clips, job = self.job.test.select(r), self.job
                x = reconstruct(
                    job.model,
                    clips,
                    noise=noise,
                    steps=job.steps,
                    seed=base(job.seed, "noise") + r.start,
                    batch=job.batch,
                    track=lambda total: progress,
                )
                return self._shown(x, r)

            return make

        def constant(r: slice, wanted: Array) -> Array:
            x = self.job.test.x[r]
            return self._shown(np.broadcast_to(mean.astype(np.float32), x.shape), r)

        def still(r: slice, wanted: Array) -> Array:
            return np.broadcast_to(wanted[:, :1], wanted.shape)

        def untouched(r: slice, wanted: Array) -> Array:
            return self._shown(self.job.test.x[r], r)

        yield _System("", "own start noise", False, model("own"))
        yield _System("_fresh_noise", "fresh start noise: the factors alone", False, model("fresh"))
        yield _System("", "mean frame of the training part", True, constant)
        yield _System("", "first frame repeated", True, still)
        if self.originals is not None:
            yield _System("", "first stage alone", True, untouched)

    def _mean_frame(self) -> Floats:
        """Return the mean of all valid frames of the training part (...), in the model's units."""
        clips = self.job.fit
        count = valid(clips.lengths, *clips.x.shape[:2])
        total = np.sum([x[:n].sum(axis=0, dtype=np.float64) for x, n in zip(clips.x, count, strict=True)], axis=0)
        return np.asarray(total / count.sum(), dtype=np.float64)

    def _shown(self, x: Array, r: slice) -> Array:
        """Return what came from the model as it is compared: pictures cut off at [-1, 1]."""
        if not self.pictures:
            return x
        return np.clip(self.job.back(np.ascontiguousarray(x), self._lengths(r)), -1, 1)

    def _wanted_at(self, r: slice) -> Array:
        return self._shown(self.job.test.x[r], r) if self.originals is None else self.originals[r]

    def _lengths(self, r: slice) -> Array | None:
        lengths = self.job.test.lengths
        return None if lengths is None else lengths[r]

    def _missing(self, r: slice) -> Array | None:
        gone = self.job.test.mask
        return None if gone is None or self.pictures else gone[r]

    def _look(self, x: Array, r: slice) -> tuple[Floats | None, Floats | None]:
        if self.identity is None or self.points is None:
            return None, None
        frames, _ = frames_of(Part(x, self._lengths(r)), self.size)
        return self.identity.look("embed", frames), self.points.look("locate", frames)

    @staticmethod
    def _keep(said: tuple[Floats | None, Floats | None], vectors: list[Floats], points: list[Floats]) -> None:
        for one, held in zip(said, (vectors, points), strict=True):
            if one is not None:
                held.append(one)

    def _rows(self, system: _System, held: _Found) -> Iterator[Row]:
        error = held.total / held.entries if held.entries else NAN
        unit = "pixels in [0, 1], squared" if self.pictures else "model's units, squared"
        if self.pictures:
            error /= 4  # from [-1, 1], where everything is compared
        none = "" if held.entries else "every value is missing"
        yield self._row(system, "mse", "MSE", error, unit=unit, better="lower", reason=none)
        if not self.job.test.video:
            return
        if self.identity is None or self.points is None:
            for name, words, measure in (("psnr", "PSNR", "dB"), ("aed", "AED", "distance"), ("akd", "AKD", "pixels")):
                better = "higher" if name == "psnr" else "lower"
                yield self._row(system, name, words, NAN, unit=measure, better=better, reason=LATENTS)
            return
        ratio = float(decibels(np.array([error]), 1.0)[0])
        same = "no difference at all: infinite" if math.isinf(ratio) else ""
        yield self._row(system, "psnr", "PSNR", NAN if same else ratio, unit="dB", better="higher", reason=same)
        vectors, points = self._wanted
        published = self.job.as_published
        yield self._judged(
            system,
            "aed",
            "distance",
            self.identity,
            # The authors' code for bodies squares the distance; the one for faces counts what it misses as 0.
            lambda: average_euclidean_distance(
                np.concatenate(held.vectors),
                np.concatenate(vectors),
                published and not self.bodies,
                squared=published and self.bodies,
            ),
        )
        yield self._judged(
            system,
            "akd",
            "pixels",
            self.points,
            lambda: average_keypoint_distance(
                np.concatenate(held.points),
                np.concatenate(points),
                published,
                table="swap" if self.bodies else "reconstruction",
            ),
        )

    def _judged(self, system: _System, name: str, unit: str, witness: _Witness, measure: Callable[[], Measured]) -> Row:
        if witness.judge is None:
            return self._row(system, name, name.upper(), NAN, unit=unit, better="lower", reason=witness.reason)
        found = measure()
        return self._row(
            system,
            name,
            name.upper(),
            found.value,
            unit=unit,
            better="lower",
            reason=NOTHING if math.isnan(found.value) else "",
            count=found.count,
            missed=found.missed,
            judge=witness.judge.name,
            substitute=witness.judge.substitute,
        )

    def _row(self, system: _System, name: str, words: str, value: float, **about: Any) -> Row:
        return Row(
            metric=name + system.suffix,
            values=(value,),
            about=f"{words}; {system.about}",
            baseline=system.baseline,
            **{"count": len(self.job.test), **about},
        )


def _originals(job: Job, looked_at: bool) -> Array | None:
    given = job.originals
    if given is None:
        return None
    x = np.asarray(given)
    if not looked_at:
        raise InputError("originals: got pixels for clips that stay latents, expected a first stage as well")
    shape = job.back(job.test.x[:1], None).shape[1:]
    if x.shape != (len(job.test), *shape):
        raise InputError(f"originals: got {x.shape}, expected {(len(job.test), *shape)}: the pixels of the test part")
    if not (np.isfinite(x).all() and np.abs(x).max() <= 1 + 1e-6):
        raise InputError("originals: got values beyond [-1, 1], expected pixels in that range")
    return x
