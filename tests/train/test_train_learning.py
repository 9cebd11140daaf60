"""Training learns: made series, and two clips by heart."""

import numpy as np
import torch

from diffsda.data.registry import open_clips
from diffsda.data.synthetic.series import series
from diffsda.model import DiffSDA
from diffsda.presets import preset
from diffsda.train.data import Source
from diffsda.train.loop import Options, train
from diffsda.train.order import seed_for
from diffsda.train.step import draw


def small(**optim):
    return preset("tiny_vector").replace(
        backbone={"width": 8, "dropout": 0.0},
        encoder={"width": 8, "hidden": 16, "dropout": 0.0, "dynamic": 4},
        optim=optim,
    )


def fixed_loss(model, data, draws=8):
    """The loss on clips under noise that does not change from call to call."""
    batch = Source(data, model.whitening).batch(np.arange(len(data)))
    noise = draw(model.recipe.replace(optim={"draws": draws, "seed": 99}), batch.x.shape, 0, torch.device("cpu"))
    sigma, unit = noise.rows(slice(None))
    with torch.no_grad():
        return float(model.eval().loss(batch.x, sigma, unit, batch.mask, batch.lengths))


def untrained(model):
    torch.manual_seed(seed_for(model.recipe.optim.seed))
    return DiffSDA(model.recipe, model.whitening)


def test_series_are_learnt_to_a_fifth_of_the_first_loss(tmp_path):
    recipe = small(batch=16, steps=150, lr=3e-3)
    told = []
    data = open_clips("series")
    model = train(recipe, data, tmp_path / "run", Options(log_every=1), progress=lambda *a: told.append(a[2])).model
    losses = [values["loss"] for values in told]
    assert len(losses) == 150
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:10])
    unseen = open_clips("series", "test")
    assert fixed_loss(model, unseen) < 0.2 * fixed_loss(untrained(model), unseen)


def test_the_average_learns_as_well(tmp_path):
    recipe = small(batch=16, steps=150, lr=3e-3, ema=0.95)
    model = train(recipe, series(128), tmp_path / "run").model
    unseen = series(64, seed=1)
    assert fixed_loss(model, unseen) < 0.25 * fixed_loss(untrained(model), unseen)


def test_two_clips_are_learnt_by_heart(tmp_path):
    recipe = small(batch=2, draws=8, steps=200, lr=3e-3)
    data = series(2)
    model = train(recipe, data, tmp_path / "run").model
    assert fixed_loss(model, data) < 0.05 * fixed_loss(untrained(model), data)
