"""Models with recorded results, exported once for all tests that want them."""

import dataclasses
from pathlib import Path

import safetensors.torch
import torch

from diffsda.edm.schedule import sampling_plan
from diffsda.firststage.build import build
from diffsda.firststage.recipe import FirstStage
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Prior

GOLDEN = Path(__file__).parents[1] / "golden"
STEPS = 6


def prior_of(model, frames, **recipe):
    """A small prior of a model's factors, every weight random."""
    torch.manual_seed(7)
    sizes = Sizes(static=model.recipe.encoder.static, dynamic=model.recipe.encoder.dynamic, frames=frames)
    prior = LatentPrior(Prior(**{"layers": 3, "sampling_steps": 5, **recipe}), sizes).eval()
    with torch.no_grad():
        for value in prior.parameters():
            value.add_(0.05 * torch.randn_like(value))
        prior.mean.normal_()
        prior.std.uniform_(0.5, 2.0)
    return prior


def first_stage():
    """The recorded first stage: 64 pixels to 16 cells of four channels, a codebook of 16."""
    stage = FirstStage(size=64, width=32, multipliers=(1, 1, 2), blocks=1, attention=(2,), latent=4, codes=16)
    model = build(stage)
    tensors = safetensors.torch.load_file(GOLDEN / "first_stage.weights.safetensors")
    model.load_state_dict({name: value.float() for name, value in tensors.items()})
    return model.eval()


def plan_of(model, steps=STEPS):
    return sampling_plan(dataclasses.replace(model.recipe.sampling, steps=steps), model.denoiser.precondition)
