"""What a report's pictures share: a model, the clips it is shown with, their factors and codes, and how to draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from diffsda.disentangler import Disentangler
from diffsda.edm.noise import SampleNoise
from diffsda.errors import MissingPackage
from diffsda.evaluate.lengths import Array, mask, valid
from diffsda.factors import Factors
from diffsda.report.canvas import png
from diffsda.report.film import moving, poster, webm
from diffsda.report.sections import Figure, Film, Section
from diffsda.tasks.batches import Track, silent, slices, solver_steps
from diffsda.tasks.generate import frame_shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from diffsda.data.clip import Clips

Watch = Callable[[str], AbstractContextManager[Track]]
Back = Callable[[Array, Array | None], Array]


@contextmanager
def unwatched(words: str) -> Iterator[Track]:
    """Watch nothing."""
    yield silent


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and how its clips are drawn.

    ``back`` takes clips (N, V, ...) and lengths from the model's units to people's. ``limits`` are the values drawn
    darkest and brightest. ``about`` goes into the text of every PNG.
    """

    model: Disentangler
    back: Back
    limits: tuple[float, float] | None = None
    unit: str = "value"
    seed: int = 0
    steps: int | None = None
    batch: int = 64
    films: bool = True
    watch: Watch = unwatched
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def video(self) -> bool:
        """Whether clips are pictures."""
        return self.model.recipe.video

    @torch.no_grad()
    def sample(self, f: Factors, start: Tensor | None, lengths: Array | None, track: Track) -> Array:
        """Return clips of these factors in people's units, from these codes or from fresh noise.

        Clip i draws from seed + i, whatever the batch; no two frames share noise unless the model says so.
        """
        model = self.model
        parts = list(slices(len(f), self.batch))
        progress = track(len(parts) * solver_steps(model, self.steps))
        like, made = model._like(), []
        for r in parts:
            seeds = [self.seed + i for i in range(r.start, r.stop)]
            own = None if lengths is None else lengths[r]
            given = f[r].to(like.device)
            if start is None:
                shape = (len(seeds), f.frames, *frame_shape(model))
                code = SampleNoise(seeds, shape, like=like, shared=model.shared_noise)()
            else:
                code = start[r]
            x = model.sample(given, code, self.steps, seeds, lengths=own, progress=progress)
            made.append(x.cpu().numpy())
        return self.back(np.concatenate(made), lengths)

    def small(self, x: Array, most: int) -> Array:
        """Return video (..., H, W) at a whole part of its size, with sides of ``most`` at most; vectors as they are."""
        times = -(-x.shape[-1] // most) if self.video else 1
        if times == 1:
            return x
        high, wide = (side // times for side in x.shape[-2:])
        cut = x[..., : high * times, : wide * times].astype(np.float32)
        return np.asarray(cut.reshape(*x.shape[:-2], high, times, wide, times).mean((-3, -1)))

    def figure(self, drawing: Drawing, caption: str, alt: str, keys: Sequence[str] = ()) -> Figure:
        """Return a drawing as a figure of the page."""
        return Figure(png(drawing, seed=self.seed, keys=keys, **self.about), caption, alt)

    def film(self, cells: Sequence[Sequence[Array | None]], caption: str, alt: str) -> list[Section]:
        """Return clips in rows and columns as a film; nothing for vectors, or where no films are wanted."""
        if not (self.films and self.video):
            return []
        frames = moving(cells, self.limits or (-1.0, 1.0))
        return [Film(webm(frames), poster(frames), caption, alt)]


def films_or_why(wanted: bool) -> tuple[bool, str]:
    """Return whether films can be made, and a sentence where they are wanted and cannot."""
    from diffsda.data.video.libav import libav

    if not wanted:
        return False, ""
    try:
        libav()
    except MissingPackage:
        return False, "Films were left out: PyAV is not installed (pip install 'diffsda[video]'). The strips show all."
    return True, ""


def extremes(clips: Clips) -> tuple[float, float]:
    """Return the values drawn darkest and brightest: -1 and 1 for pixels, else the extremes of what is no padding."""
    x = clips.x
    keep = mask(valid(clips.lengths, *x.shape[:2]), x.shape[1])
    seen = x[keep] if clips.mask is None else x[keep][clips.mask[keep] == 0]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    if clips.video and -1.01 <= low <= high <= 1.01:
        return -1.0, 1.0
    return (low, high) if low < high else (low - 0.5, high + 0.5)
