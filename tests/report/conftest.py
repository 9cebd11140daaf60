"""Miniature runs: really trained, for two steps."""

import pytest

from diffsda.data.registry import open_clips
from diffsda.recipe import Backbone, Clips, Encoder, Optim, Recipe, Sampling
from diffsda.train.loop import train
from diffsda.train.options import Options

OPTIM = Optim(lr=1e-3, batch=4, steps=2, seed=3)
VIDEO = Recipe(
    name="mini_video",
    clips=Clips(modality="video", frames=8, channels=3, size=16),
    backbone=Backbone(kind="unet", width=32, multipliers=(1,), attention=(), blocks=1),
    encoder=Encoder(width=32, multipliers=(1,), attention=(), blocks=1, hidden=6, static=5, dynamic=2),
    sampling=Sampling(steps=2),
    optim=OPTIM,
)
VECTOR = Recipe(
    name="mini_series",
    clips=Clips(modality="series", channels=6),
    backbone=Backbone(width=4, dropout=0.0),
    encoder=Encoder(width=4, hidden=6, static=5, dynamic=2, dropout=0.0),
    sampling=Sampling(steps=3),
    optim=OPTIM,
)


@pytest.fixture(scope="session")
def video_run(tmp_path_factory):
    """Return the folder of a run on moving shapes."""
    return _trained(tmp_path_factory, VIDEO, "moving_shapes")


@pytest.fixture(scope="session")
def series_run(tmp_path_factory):
    """Return the folder of a run on series."""
    return _trained(tmp_path_factory, VECTOR, "series")


def _trained(tmp_path_factory, recipe, data):
    folder = tmp_path_factory.mktemp("runs") / recipe.name
    clips = open_clips(data).select(slice(0, 12))
    train(recipe, clips, folder, Options(device="cpu", log_every=1))
    return folder
