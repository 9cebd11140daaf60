"""Clip features without training: fixed random convolutions over space and time, in place of I3D."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from diffsda.errors import InputError
from diffsda.evaluate.judges.kinds import Array, Floats

SIDE = 64
"""Pixels that larger pictures are reduced to."""
CHANNELS = (3, 16, 32, 64)
VECTOR = 64
LOOKS, MOVES = 48, 16
"""Numbers kept of what a clip looks like, and of how it moves."""
SEED = 20
AT_ONCE = 16


class RandomFeatures:
    """64 numbers a clip: three layers of random filters, what they say on average in each quarter, and how it changes.

    Filters are drawn once and for all, so that every set and model is seen through the same eyes; no labels, no
    training and no download are needed. They tell blur, noise, missing motion and missing variety from real clips, but
    know nothing of what matters to people. Distances are small numbers without a unit: only those on clips of one set,
    size and number of frames compare.
    Source: Frechet distances on untrained networks, as in Naeem et al. 2020 (section on random embeddings). Differs:
    the paper's are of I3D, trained on Kinetics; numbers are on another scale.
    """

    name = "random-conv"
    substitute = True

    def __init__(self, device: str = "cpu", seed: int = SEED) -> None:
        self.version = f"1, seed {seed}, side {SIDE}"
        self._device = torch.device(device)
        self._seed = seed
        self._pictures = self._draw(3, 3, CHANNELS)
        self._projections = {wide: self._projection(*wide) for wide in ((4 * CHANNELS[-1], LOOKS), (VECTOR, MOVES))}

    @torch.no_grad()
    def describe(self, clips: Array) -> Floats:
        """Return features (N, 64) of video (N, V, C, H, W) in [-1, 1], grey or RGB, or of vectors (N, V, F).

        Raises: InputError for other shapes or values that are not finite.
        """
        clips = np.ascontiguousarray(clips, np.float32)
        video = clips.ndim == 5 and clips.shape[2] in (1, 3)
        if not video and clips.ndim != 3:
            raise InputError(f"random-conv: got clips {clips.shape}, expected video, grey or RGB, or vectors (N, V, F)")
        if not np.isfinite(clips).all():
            raise InputError("random-conv: got values that are not finite, expected numbers only")
        filters = self._pictures if video else self._draw(1, 3, (clips.shape[2], VECTOR, VECTOR, VECTOR))
        parts = []
        for start in range(0, len(clips), AT_ONCE):
            x = torch.from_numpy(clips[start : start + AT_ONCE]).to(self._device)
            parts.append((self._video(x, filters) if video else self._vectors(x, filters)).double().cpu().numpy())
        return np.concatenate(parts)

    def _video(self, x: Tensor, filters: list[Tensor]) -> Tensor:
        clips, frames = x.shape[:2]
        x = x.expand(-1, -1, 3, -1, -1)
        if max(x.shape[3:]) > SIDE:
            flat = functional.interpolate(x.flatten(0, 1), (SIDE, SIDE), mode="bilinear", antialias=True)
            x = flat.unflatten(0, (clips, frames))
        h = x.movedim(1, 2)  # (N, 3, V, H, W)
        for weight in filters:
            # Borders are repeated: a clip that stands still must not seem to move at its ends.
            around = functional.pad(h, (1, 1, 1, 1, 1, 1), mode="replicate")
            h = functional.leaky_relu(functional.conv3d(around, weight, stride=(1, 2, 2)), 0.2)
        quarters = functional.adaptive_avg_pool2d(h.mean(2), 2).flatten(1)  # (N, 4 * 64)
        moving = h.diff(dim=2).abs().sum(dim=(2, 3, 4)) / (max(1, frames - 1) * h.shape[3] * h.shape[4])
        return self._kept(quarters, moving)

    def _vectors(self, x: Tensor, filters: list[Tensor]) -> Tensor:
        frames = x.shape[1]
        h = x.movedim(1, 2)  # (N, F, V)
        for weight in filters:
            h = functional.leaky_relu(functional.conv1d(functional.pad(h, (1, 1), mode="replicate"), weight), 0.2)
        quarters = functional.adaptive_avg_pool1d(h, 4).flatten(1)  # (N, 64 * 4)
        return self._kept(quarters, h.diff(dim=2).abs().sum(2) / max(1, frames - 1))

    def _kept(self, quarters: Tensor, moving: Tensor) -> Tensor:
        looks, moves = (self._projections[wide] for wide in ((4 * CHANNELS[-1], LOOKS), (VECTOR, MOVES)))
        return torch.cat([quarters @ looks, moving @ moves], dim=1)

    def _draw(self, axes: int, side: int, channels: tuple[int, ...]) -> list[Tensor]:
        """Return the filters of each layer, drawn so that values keep their size from layer to layer."""
        draw = np.random.default_rng([self._seed, axes])
        layers = []
        for held, wide in itertools.pairwise(channels):
            shape = (wide, held, *[side] * axes)
            scale = np.sqrt(2 / (1.04 * np.prod(shape[1:])))  # for rectifiers that leak a fifth
            layers.append(torch.from_numpy((draw.standard_normal(shape) * scale).astype(np.float32)).to(self._device))
        return layers

    def _projection(self, held: int, kept: int) -> Tensor:
        """Return a random projection (held, kept) with orthonormal columns."""
        draw = np.random.default_rng([self._seed, held, kept])
        columns, _ = np.linalg.qr(draw.standard_normal((held, kept)))
        return torch.from_numpy(columns.astype(np.float32)).to(self._device)
