"""Models with recorded results, exported once for all tests that want them."""

import dataclasses
from pathlib import Path

from diffsda.edm.schedule import sampling_plan

GOLDEN = Path(__file__).parents[1] / "golden"
STEPS = 6


def plan_of(model, steps=STEPS):
    return sampling_plan(dataclasses.replace(model.recipe.sampling, steps=steps), model.denoiser.precondition)
