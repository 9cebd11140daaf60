"""Whether a job's clips can be looked at."""

from __future__ import annotations

from diffsda.evaluate.job import Job


def pictures(job: Job) -> bool:
    """Tell whether clips in people's units are pictures, and not vectors or latents without their first stage."""
    if not job.test.video:
        return False
    x = job.back(job.test.x[:1], None)
    still_latent = job.model.recipe.clips.latent and x.shape[3:] == job.test.x.shape[3:]
    return x.shape[2] in (1, 3) and not still_latent
