"""The models, clips and words that tests of the command line share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from diffsda.model import DiffSDA
from diffsda.recipe import Backbone, Clips, Encoder, Recipe, Sampling

ROOT = Path(__file__).resolve().parents[2]

VECTOR = Recipe(
    name="vector",
    clips=Clips(channels=3),
    backbone=Backbone(width=4, dropout=0.0),
    encoder=Encoder(width=4, hidden=6, static=5, dynamic=2, dropout=0.0),
    sampling=Sampling(steps=3),
)
VIDEO = Recipe(
    name="video",
    clips=Clips(modality="video", channels=2, size=8),
    backbone=Backbone(kind="unet", width=32, multipliers=(1,), attention=(), blocks=1),
    encoder=Encoder(width=32, multipliers=(1,), attention=(), blocks=1, hidden=6, static=5, dynamic=2),
    sampling=Sampling(steps=2),
)
SHAPES = {"vector": (4, 7, 3), "video": (3, 4, 2, 8, 8)}


@dataclass(frozen=True)
class Said:
    """What a verb returned and printed."""

    status: int
    out: str
    err: str


def build(recipe, whitening=None):
    """Return a model whose every weight matters (fresh ones end in layers that are all but 0)."""
    torch.manual_seed(0)
    model = DiffSDA(recipe, whitening)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model.eval()


def vectors(shape, seed=0):
    """Return clips that are neither centred nor of deviation 0.5."""
    return np.random.default_rng(seed).normal(3.0, 2.0, shape).astype(np.float32)


def names(folder):
    """Return what a folder holds, hidden files too."""
    return sorted(path.name for path in folder.iterdir())
