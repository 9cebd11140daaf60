"""Stand-in judges with plain rules, a shelf of them, and small jobs, for the tests of reconstruction and generation."""

import numpy as np
import torch

from diffsda import DiffSDA, preset
from diffsda.data.registry import open_clips
from diffsda.errors import InputError, MissingPackage
from diffsda.evaluate.job import Job

VIDEO = preset("tiny_video").replace(
    backbone={"width": 32, "multipliers": (1,), "attention": (), "blocks": 1},
    encoder={"width": 32, "multipliers": (1,), "attention": (), "blocks": 1, "hidden": 8, "static": 4, "dynamic": 2},
    sampling={"steps": 2},
)
VECTOR = preset("tiny_vector").replace(
    backbone={"width": 4}, encoder={"width": 4, "hidden": 8, "static": 4, "dynamic": 2}, sampling={"steps": 2}
)


class Handing:
    """A model that hands clips back ``off`` by so much, and with fresh noise by noise of its seed on top."""

    stochastic, shared_noise = True, False

    def __init__(self, off=0.0, recipe=VIDEO):
        self.off, self.recipe = off, recipe

    def reconstruct(self, x, lengths, *, noise, steps, seed, progress):
        x = np.asarray(x) + np.float32(self.off)
        for _ in progress(range(2 if noise == "fresh" else 4)):
            pass
        if noise == "fresh":
            drawn = [np.random.default_rng(one).normal(0, 0.2, x.shape[1:]) for one in seed]
            x = x + np.stack(drawn).astype(np.float32)
        return torch.from_numpy(x)


class Colours:
    """An embedder that says what colour a frame is; it finds nothing in frames darker than ``dark``."""

    name, version, substitute, threshold = "colours", "1", True, 10.0

    def __init__(self, dark=-1.0):
        self.dark = dark

    def embed(self, frames):
        assert frames.dtype == np.uint8
        assert frames.shape[-1] == 3
        seen = frames.mean((1, 2))
        return np.where(seen.mean(1, keepdims=True) > self.dark, seen, np.nan)


class Corners:
    """Key points: the brightest pixel of each colour; it finds nothing in frames darker than ``dark``."""

    name, version, substitute = "corners", "1", False

    def __init__(self, dark=-1.0):
        self.dark = dark

    def locate(self, frames):
        n, h, w, _ = frames.shape
        at = frames.reshape(n, h * w, 3).argmax(1)
        points = np.stack([at % w, at // w], axis=-1).astype(np.float64)
        points[frames.mean((1, 2, 3)) <= self.dark] = np.nan
        return points


class Averages:
    """Describes a clip by its mean over all but the features, or the colours, and the spread."""

    name, version, substitute = "averages", "1", True

    def describe(self, clips):
        axes = (1, 3, 4) if clips.ndim == 5 else (1,)
        return np.concatenate([clips.mean(axes), clips.std(axes)], axis=1)


class Choosy:
    """Describes nothing of this shape."""

    name, version, substitute = "choosy", "1", False

    def describe(self, clips):
        raise InputError(f"clips: got {clips.shape}, expected others")


class Late:
    """A judge whose weights turn out to be missing when it first looks."""

    name, version, substitute, threshold = "late", "1", False, 1.0

    def embed(self, frames):
        raise MissingPackage("late: cannot fetch its weights")

    locate = describe = embed


class Lookers:
    """A shelf that hands out what it was made with, and has nothing else."""

    def __init__(self, **judges):
        self.judges = judges

    def __getattr__(self, kind):
        if kind.startswith("_"):
            raise AttributeError(kind)

        def hand_out(as_published=False):
            if as_published and f"{kind}_as_published" in self.judges:
                return self.judges[f"{kind}_as_published"]
            if kind not in self.judges:
                raise MissingPackage(f"no judge of {kind} is there; pip install {kind}")
            return self.judges[kind]

        return hand_out


SEEING = {"faces": Colours(), "landmarks": Corners(), "clip_features": Averages()}


def video(count=6, split="test"):
    """Clips (count, 8, 3, 16, 16) of moving shapes."""
    return open_clips("moving_shapes", split).select(slice(0, count))


def vectors(count=6, frames=6, seed=0, lengths=None):
    """Clips (count, frames, 6), their mean at 1."""
    from diffsda.data.clip import Clips

    x = np.random.default_rng(seed).normal(1, 0.5, size=(count, frames, 6)).astype(np.float32)
    return Clips(x, lengths=lengths)


def network(recipe, randomise):
    """A model whose every weight matters, of a size that a test can wait for."""
    torch.manual_seed(0)
    return randomise(DiffSDA(recipe))


def same(x, lengths=None):
    """Clips in people's units, where these are the model's."""
    return np.asarray(x)


def job(model, test, fit=None, **more):
    """A job over these clips."""
    usual = {"back": same, "shelf": Lookers(**SEEING), "fit": test if fit is None else fit, "batch": 4}
    return Job(**{**usual, "model": model, "test": test, **more})


def row(rows, metric, about="", baseline=False):
    """The one row of that metric whose description holds these words."""
    (found,) = [r for r in rows if (r.metric, r.baseline) == (metric, baseline) and about in r.about]
    return found


def table(rows):
    """The values of all rows, by metric and description."""
    found = {(r.metric, r.about): r.values[0] for r in rows}
    assert len(found) == len(rows)
    return found
