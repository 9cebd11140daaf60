"""Miniature series and audio jobs: clips whose factors are planted in them, and a model that reads them off."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import torch

from diffsda.data.clip import Clips
from diffsda.errors import MissingPackage
from diffsda.evaluate.job import Job
from diffsda.factors import Factors
from diffsda.model import DiffSDA
from diffsda.presets import preset

TINY = preset("tiny_vector").replace(
    backbone={"width": 4}, encoder={"width": 4, "hidden": 8, "static": 4, "dynamic": 2}, sampling={"steps": 3}
)


class Planted:
    """A model whose s is the first features of a clip's first frame, and whose d is the other features."""

    policy = "dynamic"
    stochastic, shared_noise = True, False

    def __init__(self, static=4, modality="series"):
        self.width = static
        self.recipe = SimpleNamespace(clips=SimpleNamespace(modality=modality), optim=SimpleNamespace(lr=1e-4))

    @contextmanager
    def evaluating(self):
        yield

    def encode(self, x, lengths=None):
        x = torch.as_tensor(x)
        return Factors(x[:, 0, : self.width], x[:, :, self.width :])


class BareShelf:
    """A shelf that no judge lies on."""

    def voices(self):
        raise MissingPackage("voices: no package here, get one")

    def speech_quality(self):
        raise MissingPackage("speech quality: no package here, get one")


def tiny(modality="series", channels=6, seed=0):
    """A small model with weights as they were drawn."""
    torch.manual_seed(seed)
    recipe = TINY.replace(clips={"channels": channels, "modality": modality})
    return DiffSDA(recipe).eval()


def clips(static, dynamic, **labels):
    """Clips (N, V, S + D) with s in every frame and d behind it."""
    static, dynamic = np.asarray(static, np.float32), np.asarray(dynamic, np.float32)
    x = np.concatenate([np.repeat(static[:, None], dynamic.shape[1], 1), dynamic], 2)
    return Clips(x, labels=labels)


def job(fit, test=None, model=None, **settings):
    """A job whose clips are in people's units already."""
    usual = {"model": model or Planted(), "back": lambda x, lengths: x, "shelf": BareShelf()}
    return Job(**usual | {"fit": fit, "test": fit if test is None else test} | settings)


def table(rows):
    """Rows by metric and whether they are a baseline, words and judge left out; the first of several."""
    out = {}
    for row in rows:
        out.setdefault((row.metric, row.baseline), row)
    return out
