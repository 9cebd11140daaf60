"""Between pixels and the latents a model sees: a first stage and a whitening, over clips, in bounded memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.firststage.autoencoder import Autoencoder
from diffsda.firststage.whiten import SIGMA_DATA, Whitening

MEMORY = {"cpu": 2**29, "cuda": 2**33}
"""Bytes of activations to work in, roughly, by the kind of device."""
_HELD = 6
"""Activations of the finest level that are alive at once, rounded up."""


class LatentSpace:
    """Where a model lives that was trained on latents: clips of pixels in and out, whitened latents inside.

    ``whitening`` is None where latents are to be taken as they are. ``tile`` is how many frames go through the
    networks at once; left open, as many as keep activations within some hundred megabytes (eight gigabytes on CUDA).
    ``tell`` gets a line when latents to be decoded do not look like whitened ones; by default it is a warning.
    Source: DiffSDA appendix B.2.
    """

    def __init__(
        self,
        first_stage: Autoencoder,
        whitening: Whitening | None = None,
        *,
        tile: int | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        if tile is not None and tile < 1:
            raise InputError(f"tile: got {tile}, expected at least 1 frame at a time")
        latent = first_stage.stage.latent
        if whitening is not None and len(whitening.mean) != latent:
            raise InputError(f"whitening: got {len(whitening.mean)} channels, expected the {latent} of the first stage")
        self.first_stage, self.whitening, self.tile = first_stage, whitening, tile
        self.tell = tell or (lambda words: warnings.warn(words, stacklevel=3))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Return the whitened latents of clips.

        Shapes: frames (B, V, C, H, W) in [-1, 1] -> (B, V, c, H / factor, W / factor), float32, where frames are.
        Raises: InputError for clips the first stage does not take.
        """
        _check_clips(frames, "frames (B, V, C, H, W)")
        tile = self.tile or self._tile(frames.shape[-2] * frames.shape[-1])
        parts = [self.first_stage.encode(part).float().to(frames.device) for part in self._parts(frames, tile)]
        latents = torch.cat(parts).unflatten(0, frames.shape[:2])
        return latents if self.whitening is None else self.whitening.apply(latents)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return the pixels of whitened latents, in [-1, 1] and no further.

        Shapes: latents (B, V, c, h, w) -> (B, V, C, h * factor, w * factor), float32, where latents are.
        Raises: InputError for latents the first stage does not take.
        """
        _check_clips(latents, "latents (B, V, c, h, w)")
        doubt = self.doubt(latents)
        if doubt is not None:
            self.tell(doubt)
        pixels = latents.shape[-2] * latents.shape[-1] * self.first_stage.stage.factor**2
        values = latents if self.whitening is None else self.whitening.undo(latents)
        tile = self.tile or self._tile(pixels)
        parts = [
            self.first_stage.decode(part).float().clamp(-1, 1).to(latents.device) for part in self._parts(values, tile)
        ]
        return torch.cat(parts).unflatten(0, latents.shape[:2])

    def doubt(self, latents: Tensor) -> str | None:
        """Return a line if latents look as if they were not whitened: mean far from 0 or deviation from 0.5.

        A clip's own statistics differ from those of its data set; only what no clip explains is told: a mean beyond
        two deviations, or a deviation more than twice too large or four times too small.
        Shapes: latents (B, V, c, h, w).
        """
        if self.whitening is None:
            return None
        wide = latents.detach().double()
        mean, std = wide.mean((0, 1, 3, 4)), wide.std((0, 1, 3, 4), correction=0)
        off = (mean.abs() > 2 * SIGMA_DATA) | (std > 2 * SIGMA_DATA) | (std < SIGMA_DATA / 4)
        if not bool(off.any()):
            return None
        c = int(off.nonzero()[0])
        return (
            f"latents: channel {c} has mean {float(mean[c]):.3g} and deviation {float(std[c]):.3g}, expected about 0 "
            f"and {SIGMA_DATA}; are these latents whitened, and by this first stage's statistics?"
        )

    def _tile(self, pixels: int) -> int:
        """Return how many frames of so many pixels fit the memory to work in."""
        stage, kind = self.first_stage.stage, self.first_stage.device.type
        return max(1, MEMORY.get(kind, MEMORY["cpu"]) // (_HELD * 4 * pixels * stage.width * stage.multipliers[0]))

    def _parts(self, clips: Tensor, tile: int) -> Iterator[Tensor]:
        """Deal out frames, ``tile`` at a time, where the first stage is."""
        weight = next(self.first_stage.parameters())
        for part in clips.flatten(0, 1).split(tile):
            yield part.to(weight.device, weight.dtype)


def to_bytes(pixels: Tensor) -> Tensor:
    """Return pixels in [-1, 1] as bytes, rounded; what lies outside is cut off."""
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def _check_clips(x: Tensor, expected: str) -> None:
    if x.ndim != 5 or 0 in x.shape or not x.is_floating_point():
        raise InputError(f"latent space: got {tuple(x.shape)} {x.dtype}, expected {expected} of floats, none empty")
