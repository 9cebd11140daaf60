"""The recorded prior: the authors' weights and outputs, and a prior of ours with these weights."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from diffsda.prior.authors import size_of, to_ours
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Prior

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = Sizes(static=12, dynamic=3, frames=3)


@cache
def recorded():
    with np.load(GOLDEN / "prior.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


@cache
def weights():
    return load_file(GOLDEN / "prior.weights.safetensors")


def loaded(**recipe):
    """Return our prior with the authors' weights, dropout off."""
    size, layers, width = size_of(weights())
    assert size == SIZES.total
    prior = LatentPrior(Prior(normalise=False, layers=layers, width=width, **recipe), SIZES)
    prior.networks["joint"].load_state_dict(to_ours(weights(), prior.networks["joint"]))
    return prior.eval()


def relative(given, wanted):
    assert given.shape == wanted.shape
    return float((given.detach() - wanted).abs().max() / wanted.abs().max())
