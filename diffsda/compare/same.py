"""What all systems must have had in common: the pairs that were swapped, and the judge that read the swaps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.evaluate.job import Job


def pairs_of(job: Job) -> dict[str, Any]:
    """Return what a job's pairs are known by: how many, and a digest of their rows.

    Raises: InputError if there is none.
    """
    from diffsda.evaluate.pairs import of_job

    first, second = of_job(job, own_list=False)
    return {"count": len(first), "sha256": hashlib.sha256(first.tobytes() + second.tobytes()).hexdigest()}


def same_pairs(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return what the pairs of all jobs are known by.

    Raises: InputError if they are not the same.
    """
    held = [pairs_of(job) for job in jobs]
    if any(one != held[0] for one in held):
        raise InputError(f"pairs: got other ones of other systems ({held}), expected the same; please report it")
    return held[0]


def judges_of(jobs: Mapping[str, Job]) -> dict[str, str]:
    """Return the version of the reader of each system's swaps, by its name; none without labels of whole clips.

    Readers are trained on the training part as it comes out of a model's units, and loaded models may have been trained
    on other clips, with another whitening: their readers then differ in what rounding leaves.
    """
    from diffsda.evaluate.clip_labels import usable
    from diffsda.evaluate.protocols.reading import reader_of

    out = {}
    for name, job in jobs.items():
        labels = [label for role in (job.static, job.dynamic) for label in usable([job.fit, job.test], role)[0]]
        if labels:
            out[name] = reader_of(job, labels).version
    return out
