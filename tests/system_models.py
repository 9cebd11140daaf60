"""Tiny recipes, models and clips of every system, for video and for vectors."""

import dataclasses

import numpy as np
import torch

from diffsda.baselines.dbse.settings import AudioSettings, SeriesSettings, VideoSettings
from diffsda.baselines.divid.settings import DiViDSettings
from diffsda.baselines.recipe import SystemRecipe
from diffsda.baselines.spyl.settings import SPYLSettings
from diffsda.checkpoint import load, save
from diffsda.data.arrays import read, write
from diffsda.data.clip import Clips as Held
from diffsda.firststage.clips import whitened
from diffsda.firststage.whiten import Whitening
from diffsda.recipe import Clips, Optim, Sampling
from diffsda.systems import build

WHITENING = Whitening((0.5, 0.0, -0.5), (2.0, 1.0, 0.5))
_CODES = {"static": 6, "dynamic": 3, "hidden": 5}
_DIVID = {"static": 4, "dynamic": 4, "static_hidden": 8, "heads": 2, "layers": 1, "feedforward": 8, "context": 8}
_VECTOR = Clips(modality="series", channels=3)
_VIDEO = Clips(modality="video", frames=4, channels=3, size=16)


def _recipe(name, system, settings, clips):
    optim = Optim(lr=1e-3, schedule="constant", batch=4, steps=6, weight_decay=0.0)
    return SystemRecipe(
        name=name, system=system, settings=settings, clips=clips, optim=optim, sampling=Sampling(steps=3)
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe("dbse-audio", "dbse-audio", AudioSettings(**_CODES), dataclasses.replace(_VECTOR, modality="audio")),
        _recipe("dbse-series", "dbse-series", SeriesSettings(**_CODES, window=2), _VECTOR),
        _recipe("spyl-vector", "spyl", SPYLSettings(**_CODES, kind="vector", width=4, features=5, warm_up=1), _VECTOR),
        _recipe(
            "divid-vector",
            "divid",
            DiViDSettings(
                **_DIVID, kind="vector", context_heads=2, encoder_width=8, vector_width=8, vector_layers=1, embedding=4
            ),
            _VECTOR,
        ),
        _recipe("dbse-video", "dbse-video", VideoSettings(**_CODES, width=4, features=8), _VIDEO),
        _recipe("spyl-video", "spyl", SPYLSettings(**_CODES, width=4, features=8, warm_up=1), _VIDEO),
        _recipe(
            "divid-video",
            "divid",
            DiViDSettings(
                **_DIVID,
                context_heads=2,
                encoder_width=32,
                encoder_multipliers=(1, 1),
                encoder_blocks=1,
                width=32,
                multipliers=(1, 1),
                blocks=1,
                attention=(),
            ),
            _VIDEO,
        ),
    )
}
"""One of every system and kind of frame, of a few thousand weights (DiViD for video: its norms want 32 channels)."""
VECTORS = tuple(name for name, recipe in RECIPES.items() if not recipe.video)
VIDEOS = tuple(name for name, recipe in RECIPES.items() if recipe.video)


def model(name, whitening=None):
    """Return a model whose every weight matters, ready to use."""
    torch.manual_seed(0)
    made = build(RECIPES[name], whitening)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return made.eval()


def clips(recipe, count=9, frames=6, *, lengths=False, seed=0):
    """Return clips that fit a recipe: pixels from -1 to 1, or vectors; lengths in twos, for windows of two frames."""
    draw = np.random.default_rng(seed)
    want = recipe.clips
    frame = (want.channels, want.size, want.size) if recipe.video else (want.channels,)
    x = draw.normal(size=(count, frames, *frame)).astype(np.float32)
    return Held(
        np.tanh(x) if recipe.video else x,
        2 * draw.integers(1, frames // 2 + 1, count) if lengths else None,
        name="random",
    )


def filled(folder):
    """Fill a folder with a run of each system, those of vectors whitened, and clips: NAME-clips and NAME-varied.npz."""
    for name, recipe in RECIPES.items():
        (folder / name).mkdir()
        made = model(name, WHITENING if name in VECTORS else None)
        made.provenance = {"step": 1}
        save(made, folder / name / "weights-00000001.safetensors")
        for what, lengths in (("clips", False), ("varied", True)):
            held = clips(recipe, 4, lengths=lengths)
            write(folder / f"{name}-{what}.npz", {"x": held.x} | ({"lengths": held.lengths} if lengths else {}))
    return folder


def opened(folder, name, what="clips"):
    """Return a run's model and its clips in the model's units."""
    made = load(folder / name)
    return made, whitened(read(folder / f"{name}-{what}.npz"), made.whitening)
