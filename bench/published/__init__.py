"""The published model run the way its authors run it: the baseline the speed benches compare with.

The mathematics is DiffSDA's; the execution is deliberately the authors': NCHW float32, conditioning
recomputed at every evaluation, one noise level copied from the device per frame, float64 updates.
"""

from __future__ import annotations

from diffsda.bench.published.model import Published, build
from diffsda.bench.published.sampler import reverse, sample, schedule
from diffsda.bench.published.train import optimiser, step

__all__ = ["Published", "build", "optimiser", "reverse", "sample", "schedule", "step"]
