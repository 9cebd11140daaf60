"""Where the unit normals of a system come from: a generator, or a recording to be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError


class Draws(Protocol):
    """Give unit normals of a shape for a named use; ``like`` says on which device and of which type."""

    def __call__(self, what: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return the normals for ``what``."""
        ...


def fresh(generator: torch.Generator | None = None) -> Draws:
    """Draw from a generator (on its own device, so that every device sees its numbers), or from torch's own."""

    def draw(what: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        where = like.device if generator is None else generator.device
        return torch.randn(shape, generator=generator, device=where, dtype=like.dtype).to(like.device)

    return draw


def alike(seed: int) -> Draws:
    """Draw the same row for every clip, whatever batch it is in: each has a generator of its own, from this seed.

    Shapes: the first axis of what is asked for is that of clips.
    """

    def draw(what: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return SampleNoise([seed] * shape[0], shape, like=like)()

    return draw


def recorded(held: Mapping[str, Tensor]) -> Draws:
    """Replay recorded draws by their names.

    Raises: InputError (when drawing) for a name that is not held, or of another shape.
    """

    def draw(what: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        if what not in held:
            raise InputError(f"draws: {what!r} was asked for, the recording holds {', '.join(sorted(held)) or 'none'}")
        if tuple(held[what].shape) != tuple(shape):
            raise InputError(f"draws: got {what} {tuple(held[what].shape)}, expected {tuple(shape)}")
        return held[what].to(like.device, like.dtype)

    return draw
