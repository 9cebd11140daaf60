"""Small first stages, frames to fit them on, and fits of them."""

import dataclasses

import numpy as np

from diffsda.data.clip import Clips
from diffsda.data.synthetic.shapes import moving_shapes
from diffsda.firststage.recipe import FirstStage
from diffsda.train.first_stage import fit
from diffsda.train.first_stage_options import FirstStageOptions, Fit, Plan

VQ = FirstStage(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=4, codes=16)
KL = dataclasses.replace(VQ, kind="kl", codes=0)
SMALL = Fit(steps=8, batch=2, lr=1e-3, disc_start=3, disc_layers=1, disc_width=4, revive=2)
EACH = FirstStageOptions(log_every=1, save_every=100)


def plan(stage=VQ, **changes):
    return Plan(name="small", stage=stage, fit=dataclasses.replace(SMALL, **changes))


def frames(clips=5, size=16, *, lengths=False):
    """Clips of moving shapes; some frames are padding if asked."""
    made = moving_shapes(clips, 4, size)
    return Clips(made.x, np.arange(clips) % 3 + 2 if lengths else None, name="shapes")


def run(folder, stage=VQ, options=EACH, data=None, **changes):
    return fit(plan(stage, **changes), frames() if data is None else data, folder, options)
