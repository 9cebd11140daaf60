"""Pixels in and out for a model of latents, and results as video files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.firststage.latents import LatentSpace, to_bytes
from diffsda.recipe import AnyRecipe
from diffsda.recipe import Clips as Form

Array = np.ndarray[Any, Any]


class Pixels:
    """A first stage around a model: clips are pixels in [-1, 1] on their way in, bytes on their way out.

    ``recipe``: the model's, with clips as people have them. ``digest``: of the first stage.
    Raises: InputError for a model that does not see this first stage's latents.
    """

    def __init__(self, space: LatentSpace, model: AnyRecipe) -> None:
        stage, form = space.first_stage.stage, model.clips
        if not form.latent or form.size is None or form.channels != stage.latent:
            what = f"latents of {form.channels} channels" if form.latent else "clips that are no latents"
            raise InputError(f"first stage: got a model of {what}, expected one of latents of {stage.latent} channels")
        self.space, self.digest = space, space.first_stage.digest()
        self._raw = LatentSpace(space.first_stage, tile=space.tile)
        self._said = False
        self.form: Form = dataclasses.replace(
            form, channels=stage.channels, size=form.size * stage.factor, latent=False
        )
        self.recipe = model.replace(clips=self.form)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Do not look for a while whether latents look whitened: what is made of noise never does."""
        said, self._said = self._said, True
        try:
            yield
        finally:
            self._said = said

    def latents(self, x: Array) -> Tensor:
        """Return the latents of clips (T, V, C, H, W), whitened as the model sees them, where the first stage is.

        Clips are floats in [-1, 1], or bytes. Nothing waits for a GPU.
        """
        place, given = self.space.first_stage.device, torch.from_numpy(x)
        if place.type == "cuda":
            # From other memory a copy would wait until all work before it is done.
            given = given.pin_memory().to(place, non_blocking=True)
        return self.space.encode(given.float() / 127.5 - 1 if given.dtype == torch.uint8 else given)

    def bytes(self, latents: Tensor) -> Tensor:
        """Return the pixels of whitened latents (..., V, c, h, w) as bytes (..., V, C, H, W)."""
        flat = latents.reshape(-1, *latents.shape[-4:])
        if not self._said:
            # Once a job: to look is to wait for all that was begun.
            self._said, doubt = True, self.space.doubt(flat)
            if doubt is not None:
                self.space.tell(doubt)
        whitening = self.space.whitening
        values = flat if whitening is None else whitening.undo(flat)
        return to_bytes(self._raw.decode(values)).unflatten(0, latents.shape[:-4])


def to_video(path: Path, x: Array, fps: float) -> None:
    """Write one clip (V, 3, H, W), or several (A, V, 3, H, W) side by side, as a video file (VP9 in .mp4).

    Values are bytes, or floats in [-1, 1]. The same clip gives the same bytes.
    Raises: SaveError if it cannot be written; MissingPackage without PyAV.
    """
    from diffsda.data.video.encode import Encoding, write_video
    from diffsda.data.video.libav import libav

    if x.dtype != np.uint8:
        x = to_bytes(torch.from_numpy(np.asarray(x, np.float32))).numpy()
    wide = x if x.ndim == 4 else np.concatenate(list(x), axis=-1)
    kind = libav().VideoFrame

    def frames() -> Iterator[Any]:
        for frame in wide:
            yield kind.from_ndarray(np.ascontiguousarray(frame.transpose(1, 2, 0)), format="rgb24")

    write_video(frames(), path, Encoding(codec="vp9"), fps)
