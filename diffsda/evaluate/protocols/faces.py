"""swap-video: is it still the same one with s kept, and the same motion with d kept?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsda.errors import InputError, MissingPackage
from diffsda.evaluate.identity import average_euclidean_distance, verification_accuracy
from diffsda.evaluate.job import Job
from diffsda.evaluate.judges.kinds import Embedder, Landmarks
from diffsda.evaluate.keypoints import average_keypoint_distance
from diffsda.evaluate.lengths import Array
from diffsda.evaluate.measured import Measured
from diffsda.evaluate.pairs import of_job
from diffsda.evaluate.protocols.pictures import pictures
from diffsda.evaluate.protocols.swaps import (
    WORDS,
    Frozen,
    Part,
    Policy,
    aligned,
    by_clip,
    name_of,
    policies,
    real,
    swapped,
    why,
)
from diffsda.evaluate.result import NAN, Better, Row

KINDS = ("faces", "bodies")
COPIES = {"static": "a copy of the static donor", "dynamics": "a copy of the dynamics donor"}
NOTHING = "in no frame was anything found on both sides"


@dataclass(frozen=True)
class Metric:
    """One column of the tables."""

    name: str
    frozen: Frozen
    """The factor that x lends to the swap, which is compared with x."""
    kind: str
    """Of judge: identity or points."""
    unit: str
    better: Better
    about: str


METRICS = (
    Metric("aed_static_frozen", "static", "identity", "distance", "lower", "AED to x, s of x kept"),
    Metric("akd_dynamics_frozen", "dynamics", "points", "pixels", "lower", "AKD to x, d of x kept"),
    Metric("verification_static_frozen", "static", "identity", "share", "higher", "verified as who x is, s of x kept"),
)


def run(job: Job) -> list[Row]:
    """Compare swaps with the clip that lent the frozen factor.

    A pair is x and its partner: x lends s and its partner d, or x lends d and its partner s, and either is compared
    with x. Rows come for the start noise that counts and for those in ``options["noises"]``; baselines are copies of
    either donor. ``as_published`` starts both swaps of faces from the code of x, as the authors' code does.
    options: kind (faces, bodies), noises, pairs (how many to draw), size (of frames as judges see them).
    Source: DiffSDA Tables 2, 10 and 17, appendix E.
    Raises: InputError for clips that are no video, or without pairs.
    """
    return VideoSwaps(job).rows()


class VideoSwaps:
    """The swaps of a job's pairs and what judges say of them."""

    def __init__(self, job: Job) -> None:
        self.job, self.pairs = job, of_job(job)
        self.bodies = job.options.get("kind", "faces") == "bodies"
        if job.options.get("kind", "faces") not in KINDS:
            raise InputError(f"kind: got {job.options['kind']!r}, expected {' or '.join(KINDS)}")
        if not job.test.video:
            raise InputError(f"video: got clips {job.test.x.shape}, expected (N, V, C, H, W): pictures are compared")
        if not pictures(job):
            raise InputError("video: got latents, which nobody can look at; name the first stage they were made with")
        self.counts: Policy = "reference" if job.as_published and not self.bodies else job.start
        self.policies = policies(job, self.counts)
        self.size: int | None = job.options.get("size")
        shelf = job.shelf
        self.identity, self.no_identity = _asked(self._people if self.bodies else shelf.faces)
        self.points, self.no_points = _asked(shelf.bodies if self.bodies else shelf.landmarks)
        self._real: dict[str, list[Array]] = {}

    def rows(self, watch: Callable[[Policy, Part], None] | None = None) -> list[Row]:
        """Return all rows; ``watch`` is shown the swaps with d frozen too, even where no judge of points is there."""
        out = []
        for policy in self.policies:
            static = self._said("static", policy)
            dynamics = self._said("dynamics", policy, watch)
            said = {"static": static, "dynamics": dynamics}
            out += [self._row(metric, said[metric.frozen], policy=policy) for metric in METRICS]
        return [*out, *self._copies()]

    def _people(self) -> Embedder:
        return self.job.shelf.people(as_published=self.job.as_published)

    def _judge(self, kind: str) -> tuple[Any, str]:
        return (self.identity, self.no_identity) if kind == "identity" else (self.points, self.no_points)

    def _look(self, kind: str) -> Callable[[Array], Array]:
        judge = self._judge(kind)[0]
        return judge.embed if kind == "identity" else judge.locate

    def _said(
        self, frozen: Frozen, policy: Policy, watch: Callable[[Policy, Part], None] | None = None
    ) -> list[Array] | None:
        """Return what the judge of a frozen factor says of the swaps, clip by clip; None without one."""
        kind = "identity" if frozen == "static" else "points"
        there = self._judge(kind)[0] is not None
        if not there and watch is None:
            return None
        said: list[Array] = []
        for part in swapped(self.job, self.pairs, policy, frozen):
            if watch is not None:
                watch(policy, part)
            if there:
                said += by_clip([part], self._look(kind), self.size)
        return said if there else None

    def _of_real(self, kind: str) -> list[Array]:
        """Return what a judge says of the real clips that are in pairs, by row."""
        if kind not in self._real:
            rows = np.unique(np.concatenate(self.pairs))
            said = by_clip(real(self.job, rows), self._look(kind), self.size)
            self._real[kind] = [np.empty(0)] * len(self.job.test)
            for row, one in zip(rows, said, strict=True):
                self._real[kind][row] = one
        return self._real[kind]

    def _copies(self) -> list[Row]:
        """Return the rows of systems that hand a donor back as it is: one factor is right, the other is not there."""
        out = []
        for copied, words in COPIES.items():
            for metric in METRICS:
                said = None
                if self._judge(metric.kind)[0] is not None:
                    of = self.pairs[0] if copied == metric.frozen else self.pairs[1]
                    said = [self._of_real(metric.kind)[row] for row in of]
                out.append(self._row(metric, said, words=words))
        return out

    def _row(self, metric: Metric, said: list[Array] | None, policy: Policy | None = None, words: str = "") -> Row:
        judge, reason = self._judge(metric.kind)
        name = metric.name if policy is None else name_of(metric.name, policy, self.counts)
        about = f"{metric.about}; {words}" if policy is None else f"{metric.about}; {WORDS[policy]}"
        plain: dict[str, Any] = {"metric": name, "about": about, "unit": metric.unit, "better": metric.better}
        plain["baseline"] = policy is None
        if judge is None or said is None:
            return Row(values=(NAN,), reason=reason, **plain)
        plain |= {"judge": judge.name, "substitute": judge.substitute}
        found = self._measured(metric, said, judge)
        if found is None:
            return Row(values=(NAN,), reason=f"{judge.name} gives no distance below which two are one person", **plain)
        return Row(
            values=(found.value,),
            count=found.count,
            missed=found.missed,
            reason=why(found.value, NOTHING),
            **plain,
        )

    def _measured(self, metric: Metric, said: list[Array], judge: Any) -> Measured | None:
        wanted = self._of_real(metric.kind)
        made, there = aligned(said, [wanted[row] for row in self.pairs[0]])
        published = self.job.as_published
        if metric.kind == "points":
            return average_keypoint_distance(made, there, published)
        if metric.name == "aed_static_frozen":
            # The authors' code for bodies squares the distance; the one for faces counts what it misses as 0.
            return average_euclidean_distance(
                made, there, published and not self.bodies, squared=published and self.bodies
            )
        return None if math.isnan(judge.threshold) else verification_accuracy(made, there, judge.threshold)


def _asked(shelf: Callable[[], Embedder | Landmarks]) -> tuple[Any, str]:
    """Return a judge, or None and how to get one."""
    try:
        return shelf(), ""
    except MissingPackage as error:
        return None, str(error)
