"""The units people bring clips in, and the way from there into a model's and back."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffsda.cli.options import WithModel
from diffsda.data.clip import Clips
from diffsda.data.registry import open_clips
from diffsda.disentangler import Disentangler
from diffsda.errors import InputError
from diffsda.firststage.clips import raw, whitened
from diffsda.firststage.whiten import Whitening

if TYPE_CHECKING:
    from diffsda.firststage.latents import LatentSpace
    from diffsda.recipe import AnyRecipe
    from diffsda.recipe import Clips as Form

AT_ONCE = 8
"""Clips that go through a first stage at a time."""


@dataclass(frozen=True)
class Units:
    """Clips as people have them: pixels where there is a first stage, else values to be whitened, or whitened ones."""

    recipe: AnyRecipe
    whitening: Whitening | None
    space: LatentSpace | None = None

    @classmethod
    def of(cls, model: Disentangler, options: WithModel) -> Units:
        """Return the units of a verb's clips.

        Raises: InputError for a first stage that is another than the model's latents were made with, or none.
        """
        whitening = None if options.as_is else model.whitening
        if options.first_stage is None:
            return cls(model.recipe, whitening)
        if not model.recipe.clips.latent:
            raise InputError(
                f"--first-stage: got {options.first_stage} for a model of {model.recipe.clips.modality} that sees "
                "clips as they are, expected a model of latents (clips.latent)"
            )
        if options.as_is:
            raise InputError("--as-is: got a first stage as well, expected one of them: pixels are in no model's units")
        return cls(model.recipe, whitening, _space(options.first_stage, model, options.device))

    def open(self, source: str, split: str) -> Clips:
        """Open clips and bring them into the model's units.

        Raises: InputError for clips that are none of this model's.
        """
        return self.take(open_clips(source, split, self.form))

    @property
    def form(self) -> Form:
        """What people's clips are: the model's own form, or pixels where there is a first stage."""
        if self.space is None:
            return self.recipe.clips
        stage, form = self.space.first_stage.stage, self.recipe.clips
        return dataclasses.replace(form, channels=stage.channels, size=(form.size or 0) * stage.factor, latent=False)

    def take(self, clips: Clips) -> Clips:
        """Bring clips into the model's units.

        Raises: InputError for clips that are none of this model's.
        """
        from diffsda.train.data import fits

        fits(clips, self.recipe.replace(clips=self.form))
        if self.space is None:
            return whitened(clips, self.whitening)
        latents = [self._encoded(clips.x[rows]) for rows in _few(len(clips))]
        return whitened(dataclasses.replace(clips, x=np.concatenate(latents), mask=None), None)

    def back(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Return arrays that came from the model in the units of the clips that were opened, padding at 0.

        Shapes: x (N, V, ...), lengths (N,).
        """
        if self.space is None:
            return raw(x, self.whitening, lengths)
        return raw(np.concatenate([self._decoded(x[rows]) for rows in _few(len(x))]), None, lengths)

    def _encoded(self, x: np.ndarray) -> np.ndarray:
        import torch

        assert self.space is not None
        return self.space.encode(torch.from_numpy(x)).numpy()

    def _decoded(self, x: np.ndarray) -> np.ndarray:
        import torch

        assert self.space is not None
        return self.space.decode(torch.from_numpy(np.ascontiguousarray(x))).numpy()


def _few(clips: int) -> Iterator[slice]:
    return (slice(start, start + AT_ONCE) for start in range(0, clips, AT_ONCE))


def _space(path: str, model: Disentangler, device: str) -> LatentSpace:
    from diffsda.firststage.files import load_first_stage
    from diffsda.firststage.latents import LatentSpace
    from diffsda.train.parallel import join

    stage = load_first_stage(path, device=join(device).device)
    wanted = model.provenance.get("first_stage")
    if isinstance(wanted, str) and stage.digest() != wanted:
        raise InputError(
            f"--first-stage: got {path} ({stage.digest()[:12]}), expected the one the model's latents were made with "
            f"({wanted[:12]})"
        )
    return LatentSpace(stage, model.whitening, tell=lambda words: print(f"warning: {words}", file=sys.stderr))
