"""Small recipes of all systems, clips of four people, and ways to score them that only count."""

import contextlib
import json

import numpy as np
import system_models

from diffsda.data.arrays import write
from diffsda.recipe import Backbone, Clips, Encoder, Optim, Recipe, Sampling

STEPS = 3
OURS = Recipe(
    name="ours",
    clips=Clips(channels=3),
    backbone=Backbone(width=4, dropout=0.0),
    encoder=Encoder(width=4, hidden=6, static=5, dynamic=2, dropout=0.0),
    sampling=Sampling(steps=2),
    optim=Optim(lr=1e-3, schedule="constant", batch=4, steps=STEPS),
)
THEIRS = {
    name: system_models.RECIPES[name].replace(optim={"steps": STEPS}, sampling={"steps": 2})
    for name in system_models.VECTORS
}


def recipes(folder, *names):
    """Write recipes as files; return their paths."""
    out = []
    for name in names:
        path = folder / f"{name}.json"
        path.write_text(json.dumps((OURS if name == "ours" else THEIRS[name]).to_dict()))
        out.append(path)
    return out


def people(folder, name, count, seed):
    """Write clips (count, 6, 3) of four people who do one of two things."""
    draw = np.random.default_rng(seed)
    who, what = np.arange(count) % 4, np.arange(count) // 4 % 2
    x = draw.normal(0, 0.3, (count, 6, 3))
    x[..., 0] += who[:, None]
    x[..., 1] += np.where(what[:, None], 1, -1) * np.linspace(-1, 1, 6)
    path = folder / f"{name}.npz"
    write(path, {"x": x.astype(np.float32), "who": who, "what": what})
    return path


@contextlib.contextmanager
def silent(words):
    """Show nothing of a training."""
    yield lambda step, total, values: None
