"""Clips as long as what a prior draws: cut to its number of frames, and said so."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, valid
from diffsda.tasks.pool import cut

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.evaluate.job import Job
    from diffsda.tasks.own_prior import FactorPrior


def misfit(prior: FactorPrior, clips: Clips) -> str:
    """Say why clips cannot get dynamics from a prior even cut, or nothing: none of them is as long."""
    longest, frames = int(_lengths(clips).max()), prior.sizes.frames
    if longest >= frames:
        return ""
    return (
        f"the prior draws dynamics of {frames} frames and the longest clip of {clips.name} has {longest}; train a "
        f"prior on clips of {longest} frames or fewer"
    )


def other_lengths(prior: FactorPrior, clips: Clips) -> str:
    """Say why clips cannot get dynamics from a prior as they are, or nothing: all are as long as what it draws."""
    frames, lengths = prior.sizes.frames, _lengths(clips)
    if (lengths == frames).all():
        return ""
    told = f"{lengths.min()} to {lengths.max()}" if lengths.min() < lengths.max() else str(lengths.max())
    return (
        f"the prior draws dynamics of {frames} frames, the clips of {clips.name} have {told}; train one of their length"
    )


def cut_to_prior(job: Job) -> tuple[Job, tuple[str, ...]]:
    """Return a job whose clips all have as many frames as its prior draws, and a note where some are cut or left out.

    Of longer clips the first frames are kept; shorter ones are left out, of the training part too.
    Raises: InputError without a prior, or where no clip of a part is that long.
    """
    if job.prior is None:
        raise InputError("prior: got none, expected one to draw factors from; train it with `diffsda train-prior`")
    frames = job.prior.sizes.frames
    for clips in (job.test, job.fit):
        if reason := misfit(job.prior, clips):
            raise InputError(f"prior: {reason}")
    lengths = _lengths(job.test)
    kept = np.flatnonzero(lengths >= frames)
    notes: tuple[str, ...] = ()
    if (lengths != frames).any():
        notes = (f"clips cut to the prior's {frames} frames ({len(kept)} of {len(lengths)} are at least as long)",)
    originals = None if job.originals is None else np.asarray(job.originals)[kept][:, :frames]
    test, fit = (cut(clips, frames)[0] for clips in (job.test, job.fit))
    return dataclasses.replace(job, test=test, fit=fit, originals=originals), notes


def _lengths(clips: Clips) -> Array:
    return valid(clips.lengths, len(clips), clips.frames)
