"""Noise with a seed per sample, so that results do not depend on batch size or number of devices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffsda.errors import InputError


class SampleNoise:
    """Draw unit Gaussian noise with one generator a sample.

    An integer ``seed`` gives sample i the seed ``seed + i``; a sequence names each sample's own. Numbers are
    drawn on the CPU, so every device sees the same ones. ``shared`` repeats one frame's noise over the frames.
    Raises: InputError if the number of seeds is not the batch size, or a seed is negative.
    """

    def __init__(self, seed: int | Sequence[int], shape: Sequence[int], *, like: Tensor, shared: bool = False) -> None:
        batch = shape[0]
        seeds = [seed + i for i in range(batch)] if isinstance(seed, int) else [int(s) for s in seed]
        if len(seeds) != batch or any(s < 0 for s in seeds):
            raise InputError(f"seed: got {seed!r}, expected a whole number >= 0 or {batch} of them, one a clip")
        self.generators = [torch.Generator().manual_seed(s) for s in seeds]
        self.shape, self.like, self.shared = tuple(shape[1:]), like, shared

    def __call__(self) -> Tensor:
        """Return the next draw, shaped (B, V, ...)."""
        shape = (1, *self.shape[1:]) if self.shared else self.shape
        rows = [torch.randn(shape, generator=g) for g in self.generators]
        noise = torch.stack(rows).to(self.like.device, self.like.dtype)
        return noise.expand(len(rows), *self.shape).contiguous() if self.shared else noise
