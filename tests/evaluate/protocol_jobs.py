"""Jobs for the tests of protocols: clips with their labels painted in, models that swap perfectly or copy, judges."""

import itertools
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import torch

from diffsda.data.clip import Clips
from diffsda.data.synthetic.shapes import moving_shapes
from diffsda.errors import MissingPackage
from diffsda.evaluate.job import Job
from diffsda.factors import Factors
from diffsda.model import DiffSDA
from diffsda.presets import preset

STATIC, DYNAMIC = ("sex", "head", "chest", "legs"), ("action", "direction")
CLASSES = dict(zip((*STATIC, *DYNAMIC), (2, 2, 2, 2, 3, 2), strict=True))
FRAMES, SIZE = 4, 8


def painted(name="sprites", wrong=()):
    """Every combination of labels once, each painted as the grey of one column; rows 0 are what is kept."""
    table = np.array(list(itertools.product(*(range(n) for n in CLASSES.values()))))
    x = np.zeros((len(table), FRAMES, 3, SIZE, SIZE), np.float32)
    for column in range(table.shape[1]):
        x[..., :, column] = (table[:, column] / 4)[:, None, None, None]
    x[:, :, 0, :, SIZE - 1] = np.linspace(-1, 1, FRAMES)[:, None]
    labels = {name: table[:, column] for column, name in enumerate(CLASSES) if name not in wrong}
    return Clips(x, labels=labels, name=name)


class Swapper:
    """A model whose swaps are put together column by column."""

    policy = "dynamic"
    stochastic, shared_noise = True, False

    recipe = preset("tiny_video").replace(sampling={"steps": 3})

    def __init__(self, how):
        self.how, self.calls = how, []

    def swap(self, x_static, x_dynamic, *, noise, seed, **rest):
        self.calls.append((noise, list(seed)))
        static, dynamic = torch.as_tensor(x_static), torch.as_tensor(x_dynamic)
        if self.how == "static":
            return static.clone()
        if self.how == "dynamics":
            return dynamic.clone()
        mixed = dynamic.clone()
        mixed[..., : len(STATIC)] = static[..., : len(STATIC)]
        return mixed

    def evaluating(self):
        return nullcontext()

    def encode(self, x, lengths=None):
        x = torch.as_tensor(x)
        return Factors(x[:, 0, 0, 0, : len(STATIC)], x[:, :, 0, 0, len(STATIC) : len(CLASSES)])


class PaintReader:
    """Reads the paint."""

    name, version, substitute = "paint reader", "1", True

    def __init__(self, factors, fewer=0):
        self.factors = {name: tuple("abcdef"[: CLASSES[name] - fewer]) for name in factors}
        self.accuracy = dict.fromkeys(factors, 1.0)

    def read(self, clips, lengths=None):
        said = {}
        for name, words in self.factors.items():
            seen = np.round(clips[:, 0, 0, 0, list(CLASSES).index(name)] * 4).astype(int)
            said[name] = np.eye(max(len(words), 2))[seen]
        return said


class Identity:
    """Embeds a frame as the paint of what is kept."""

    name, version, substitute, threshold = "paint identity", "1", True, 0.1

    def embed(self, frames):
        assert frames.dtype == np.uint8
        return frames[:, 0, : len(STATIC), 0] / 255.0


class Points:
    """Finds points where the paint of what happens tells."""

    name, version, substitute = "paint points", "1", True

    def locate(self, frames):
        return frames[:, 0, len(STATIC) : len(CLASSES), :2].astype(float)


class Blind:
    """Sees nothing at all."""

    name, version, substitute, threshold = "blind", "1", False, 0.5

    def embed(self, frames):
        return np.full((len(frames), 4), np.nan)

    def locate(self, frames):
        return np.full((len(frames), 5, 2), np.nan)


class Stand:
    """A shelf: judges by kind, where they were put."""

    def __init__(self, fewer=0, **judges):
        self.judges, self.fewer, self.fits = judges, fewer, []

    def reader(self, clips, labels, *, lengths=None, names=None, frame_labels=(), seed=0, **settings):
        self.fits.append((clips, labels, names, seed))
        made = self.judges.get("reader", lambda names: PaintReader(names, self.fewer))
        return made(tuple(labels))

    def __getattr__(self, kind):
        def hand_out(as_published=False):
            if as_published and f"{kind}_as_published" in self.judges:
                return self.judges[f"{kind}_as_published"]
            if kind not in self.judges:
                raise MissingPackage(f"no judge of {kind} is there; get one: pip install {kind}")
            return self.judges[kind]

        return hand_out


def job(model, shelf=None, test=None, fit=None, **more):
    """A job over painted clips, whose units are people's."""
    test = painted() if test is None else test
    usual = {"static": STATIC, "dynamic": DYNAMIC, "batch": 7, "options": {"pairs": 20}}
    shelf = Stand(faces=Identity(), landmarks=Points()) if shelf is None else shelf
    return Job(
        model=model,
        fit=test if fit is None else fit,
        test=test,
        back=lambda x, lengths: np.asarray(x),
        shelf=shelf,
        **{**usual, **more},
    )


class Nearest(PaintReader):
    """Reads in a clip the labels of a clip it was trained on, by the time mean."""

    name = "nearest"

    def __init__(self, clips):
        self.clips = clips
        self.factors = {"shape": tuple("abcd"), "colour": tuple("abcdef"), "size": tuple("abc"), "path": tuple("abc")}

    def read(self, clips, lengths=None):
        flat = [x.mean(axis=1).reshape(len(x), -1) for x in (clips, self.clips.x)]
        rows = np.linalg.norm(flat[0][:, None] - flat[1][None], axis=2).argmin(axis=1)
        labels = {name: label[:, 0] if label.ndim == 2 else label for name, label in self.clips.labels.items()}
        return {name: np.eye(len(words))[labels[name][rows]] for name, words in self.factors.items()}


def shapes_job(**more):
    """A small network that never trained, over moving shapes, two seeds."""
    fit, test = moving_shapes(48, frames=4, size=8, seed=0), moving_shapes(10, frames=4, size=8, seed=1)
    recipe = Swapper.recipe.replace(
        clips={"frames": 4, "size": 8}, backbone={"width": 32, "multipliers": (1,), "attention": ()},
        encoder={"width": 32, "multipliers": (1,), "attention": ()}, sampling={"steps": 2},
    )  # fmt: skip
    torch.manual_seed(0)
    model = DiffSDA(recipe).eval()
    reader = Nearest(fit)

    class Mean(Identity, Points):
        def embed(self, frames):
            return frames.mean(axis=(1, 2)) / 255

        def locate(self, frames):
            return frames.reshape(len(frames), -1)[:, :8].reshape(-1, 4, 2).astype(float)

    shelf = Stand(reader=lambda names: reader, faces=Mean(), landmarks=Mean())
    usual = {"static": ("shape", "colour", "size"), "dynamic": ("path",), "options": {"pairs": 2}}
    return job(model, shelf, test, fit, **{**usual, **more})


def values(rows, *, baseline=False, about=""):
    """Metric to value of the rows that are, or are not, a baseline, and whose words hold ``about``."""
    kept = [row for row in rows if row.baseline == baseline and about in row.about]
    return {row.metric: row.values[0] for row in kept}


def one(rows, metric, *, baseline=False, about=""):
    """The one row of that kind."""
    (found,) = [r for r in rows if r.metric == metric and r.baseline == baseline and about in r.about]
    return found


def counted():
    """A track that remembers what it was told and how much was done."""
    seen = SimpleNamespace(total=0, tracks=0)

    def track(total):
        seen.total += total
        seen.tracks += 1
        return iter

    return seen, track
