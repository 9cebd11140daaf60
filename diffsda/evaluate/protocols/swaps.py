"""Swaps of a job's pairs, a batch at a time and in people's units: what judges are shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from diffsda.disentangler import StartNoise
from diffsda.errors import InputError
from diffsda.evaluate.draws import base
from diffsda.evaluate.job import Job
from diffsda.evaluate.lengths import Array, valid
from diffsda.evaluate.pairs import Rows
from diffsda.evaluate.pixels import as_bytes
from diffsda.evaluate.protocols.pictures import seen
from diffsda.tasks.batches import slices
from diffsda.tasks.swap import swap

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

Frozen = Literal["static", "dynamics"]
Policy = Literal["dynamic", "static", "fresh", "shared", "reference"]
WORDS = {
    "dynamic": "start noise of the dynamics donor",
    "static": "start noise of the static donor",
    "fresh": "fresh start noise",
    "shared": "fresh start noise, one for all frames",
    "reference": "start noise of x in both swaps",
}


@dataclass(frozen=True, eq=False)
class Part:
    """Some clips (n, V, ...) in people's units, pictures in [-1, 1]; their lengths (n,), or None if all are whole."""

    x: Array
    lengths: Array | None

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(cls, job: Job, x: Array, lengths: Array | None) -> Part:
        """Return clips (n, V, ...) that are in the model's units as they are looked at."""
        return cls(seen(job, job.back(x, lengths)), lengths)


def policies(
    job: Job, first: Policy | None = None, others: Iterable[str] = (), without: Collection[str] = ()
) -> list[Policy]:
    """Return where swaps start from, the one that counts first: ``job.start``, then ``options["noises"]``, each once.

    first: another one that counts. others: what else, where the options do not say. without: those that mean nothing
    here.
    Raises: InputError for an unknown one, or one of ``without``.
    """
    given = job.options.get("noises", others)
    wanted = [first or job.start, *(given.split(",") if isinstance(given, str) else given)]
    known = [one for one in get_args(Policy) if one not in without]
    for one in wanted:
        if one not in known:
            raise InputError(f"noises: got {one!r}, expected some of {', '.join(known)}")
    return list(dict.fromkeys(wanted))


def name_of(metric: str, policy: Policy, counts: Policy) -> str:
    """Return what a metric is called: as in the tables for the policy that counts, with the policy for others."""
    return metric if policy == counts else f"{metric}_{policy}_noise"


def swapped(job: Job, pairs: Rows, policy: Policy, frozen: Frozen = "static") -> Iterator[Part]:
    """Yield the swaps of pairs (x, its partner): the static factor of x with the dynamics of its partner, or reversed.

    frozen: the factor that x lends. Swap i has noise of its own, whatever the batch.
    """
    first, second = pairs
    static, dynamic = (first, second) if frozen == "static" else (second, first)
    parts = list(slices(len(first), job.batch))
    noise = _start(policy, frozen)
    steps = job.steps or job.model.recipe.sampling.steps
    progress = job.track(len(parts) * steps * (2 if noise in ("dynamic", "static") else 1))
    for r in parts:
        giver, taker = job.test.select(static[r]), job.test.select(dynamic[r])
        made = swap(
            job.model,
            giver,
            taker,
            noise=noise,
            steps=job.steps,
            seed=base(job.seed, "noise") + r.start,
            batch=job.batch,
            track=lambda total: progress,
        )
        yield Part.of(job, made, taker.lengths)


def real(job: Job, rows: Array | None = None, part: Literal["fit", "test"] = "test") -> Iterator[Part]:
    """Yield clips of a part of the data, all or those at the given rows."""
    clips: Clips = getattr(job, part)
    chosen = np.arange(len(clips)) if rows is None else rows
    for r in slices(len(chosen), job.batch):
        yield clips_at(job, chosen[r], part)


def clips_at(job: Job, rows: Array, part: Literal["fit", "test"] = "test") -> Part:
    """Return the clips at some rows in people's units; of latents ``job.originals``."""
    clips: Clips = getattr(job, part).select(rows)
    originals = job.originals if part == "test" else None
    if originals is None:
        return Part.of(job, clips.x, clips.lengths)
    if len(originals) != len(job.test):
        raise InputError(
            f"originals: got {len(originals)} clips, expected {len(job.test)}, the pixels of the test part"
        )
    return Part(seen(job, np.asarray(originals)[rows]), clips.lengths)


def frames_of(part: Part, size: int | None = None) -> tuple[Array, Array]:
    """Return the valid frames (M, H, W, 3) of clips as bytes, and how many each clip has (n,).

    size: height and width that judges see, if others than the model's.
    Raises: InputError for clips that are no video.
    """
    x = part.x
    if x.ndim != 5:
        raise InputError(f"video: got clips {x.shape}, expected (N, V, C, H, W): this protocol looks at pictures")
    if size is not None and x.shape[-2:] != (size, size):
        x = _resized(x, size)
    return as_bytes(x, part.lengths), valid(part.lengths, *x.shape[:2])


def by_clip(parts: Iterable[Part], look: Callable[[Array], Array], size: int | None = None) -> list[Array]:
    """Return what a judge says of every frame, (V, ...) a clip.

    look: frames (M, H, W, 3) uint8 -> (M, ...).
    """
    said: list[Array] = []
    for part in parts:
        frames, counts = frames_of(part, size)
        said += np.split(np.asarray(look(frames)), np.cumsum(counts)[:-1])
    return said


def aligned(made: list[Array], wanted: list[Array]) -> tuple[Array, Array]:
    """Lay what was said of frames of two lists of clips side by side, frame by frame as far as both go.

    Shapes: (V, ...) a clip -> (M, ...) twice.
    """
    least = [min(len(a), len(b)) for a, b in zip(made, wanted, strict=True)]
    return (
        np.concatenate([a[:n] for a, n in zip(made, least, strict=True)]),
        np.concatenate([b[:n] for b, n in zip(wanted, least, strict=True)]),
    )


def why(value: float, words: str) -> str:
    """Return the reason a row needs where its value is not defined."""
    return words if math.isnan(value) else ""


def _start(policy: Policy, frozen: Frozen) -> StartNoise:
    if policy == "reference":
        return "static" if frozen == "static" else "dynamic"
    return policy


def _resized(x: Array, size: int) -> Array:
    import torch
    from torch.nn.functional import interpolate

    frames = torch.from_numpy(np.ascontiguousarray(x, np.float32)).flatten(0, 1)
    smaller = size < min(x.shape[-2:])
    made = interpolate(frames, (size, size), mode="bilinear", antialias=smaller)
    return np.asarray(made.unflatten(0, x.shape[:2]).numpy())
