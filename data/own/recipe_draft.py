"""A recipe to start from: networks as large as the data can feed, in the shapes of the presets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from diffsda.atomic import atomic_write
from diffsda.data.prepared import Dataset
from diffsda.recipe import Backbone, Clips, Encoder, Noise, Optim, Recipe, Sampling

NAME = "recipe.json"


class _Vector(NamedTuple):
    """A network for vectors: up to so many training frames, widths, hidden, static and dynamic sizes."""

    frames: int
    backbone: int
    encoder: int
    hidden: int
    static: int
    dynamic: int
    steps: int


# The first is the preset tiny_vector, the last timit; the second has the widths of demo, the third lies between.
_VECTORS = (
    _Vector(2_000, 16, 16, 32, 8, 2, 2_000),
    _Vector(50_000, 48, 32, 64, 24, 2, 4_000),
    _Vector(500_000, 128, 64, 128, 32, 4, 20_000),
    _Vector(2**62, 256, 128, 128, 32, 4, 100_000),
)


class _Video(NamedTuple):
    """A network for images: up to so many training frames, width, blocks, hidden, static and dynamic sizes."""

    frames: int
    width: int
    blocks: int
    hidden: int
    static: int
    dynamic: int
    steps: int


# The first is the preset tiny_video, the last mug; the second lies between.
_VIDEOS = (
    _Video(5_000, 32, 1, 64, 16, 4, 5_000),
    _Video(50_000, 32, 2, 128, 64, 16, 30_000),
    _Video(2**62, 64, 2, 128, 256, 64, 200_000),
)


def draft(held: Dataset, *, clips: int, total: int, stride: int = 1, latent: bool = False) -> Recipe:
    """Return a recipe that fits a set.

    clips, total: clips and frames there are to train on. stride: frames from one taken to the next.
    latent: frames are latents of a first stage.
    """
    form = Clips(
        modality=held.modality,  # type: ignore[arg-type]
        frames=held.frames,
        channels=held.channels,
        size=held.size,
        latent=latent,
        stride=stride,
    )
    # A clip must not be seen many times in one step.
    batch = max(2, min(32 if held.size is None else 16, clips))
    if held.size is None:
        return _vectors(held.name, form, total, batch)
    return _images(held.name, form, held.size, total, batch)


def _vectors(name: str, form: Clips, total: int, batch: int) -> Recipe:
    fit = next(shape for shape in _VECTORS if total <= shape.frames)
    return Recipe(
        name=name,
        clips=form,
        backbone=Backbone(kind="mlp", width=fit.backbone, dropout=0.1),
        encoder=Encoder(width=fit.encoder, hidden=fit.hidden, static=fit.static, dynamic=fit.dynamic),
        noise=Noise(P_mean=-0.4, P_std=1.0),
        sampling=Sampling(steps=18),
        optim=Optim(lr=1e-3, schedule="cosine", warmup=50, batch=batch, steps=fit.steps),
    )


def _images(name: str, form: Clips, size: int, total: int, batch: int) -> Recipe:
    fit = next(shape for shape in _VIDEOS if total <= shape.frames)
    # Every level but the last halves the frame, down to about 8 cells a side; attention is one level above that.
    levels = max(2, round(math.log2(size / 8)) + 1)
    multipliers, attention = (1, *(2,) * (levels - 1)), (max(1, levels - 2),)
    net = {"width": fit.width, "multipliers": multipliers, "attention": attention, "blocks": fit.blocks}
    return Recipe(
        name=name,
        clips=form,
        backbone=Backbone(kind="unet", **net),  # type: ignore[arg-type]
        encoder=Encoder(**net, hidden=fit.hidden, static=fit.static, dynamic=fit.dynamic),  # type: ignore[arg-type]
        noise=Noise(P_mean=-0.4, P_std=1.0) if form.latent else Noise(P_mean=-1.2, P_std=1.2),
        sampling=Sampling(steps=18),
        optim=Optim(lr=3e-4, schedule="cosine", warmup=100, batch=batch, steps=fit.steps),
    )


def write_draft(recipe: Recipe, folder: Path, tell: Callable[[str], None]) -> Path:
    """Write a recipe as recipe.json, which ``diffsda train`` takes; one that people have changed stays as it is."""
    path = folder / NAME
    if path.is_file() and _changed(path):
        tell(f"{path} was changed by hand and stays as it is")
        return path
    text = json.dumps({**recipe.to_dict(), "digest": recipe.digest}, indent=1) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))
    return path


def _changed(path: Path) -> bool:
    """Tell whether a recipe is another than the digest beside it says."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        digest = plain.pop("digest")
        return Recipe.from_dict(plain).digest != digest
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        return True
