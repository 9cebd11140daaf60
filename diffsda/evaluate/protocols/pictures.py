"""Whether a job's clips can be looked at, and how they look."""

from __future__ import annotations

import numpy as np

from diffsda.evaluate.job import Job
from diffsda.evaluate.lengths import Array


def pictures(job: Job) -> bool:
    """Tell whether clips in people's units are pictures, and not vectors or latents without their first stage."""
    return job.test.video and _pictures(job, job.back(job.test.x[:1], None))


def seen(job: Job, x: Array) -> Array:
    """Return clips (n, V, ...) in people's units as they look: pictures cut off at [-1, 1], others as they are."""
    return np.clip(x, -1, 1) if job.test.video and _pictures(job, x) else x


def _pictures(job: Job, x: Array) -> bool:
    still_latent = job.model.recipe.clips.latent and x.shape[3:] == job.test.x.shape[3:]
    return x.shape[2] in (1, 3) and not still_latent
