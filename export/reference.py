"""A small recorded request in every exported folder: what the model answered, for runtimes to be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from diffsda.atomic import atomic_write
from diffsda.disentangler import Disentangler
from diffsda.errors import CheckpointError
from diffsda.factors import Factors
from diffsda.recipe import Recipe

NAME = "reference.safetensors"
CLIPS, FRAMES, STEPS = 2, 3, 4


@dataclass(frozen=True)
class Reference:
    """Clips, their factors, start noise, and the clips that ``STEPS`` solver steps make of those.

    Shapes: x, noise and sample (2, 3, ...); static (2, S) or (2, 3, S); dynamic (2, 3, D).
    """

    x: Tensor
    static: Tensor
    dynamic: Tensor
    noise: Tensor
    sample: Tensor

    @property
    def factors(self) -> Factors:
        """Both factors."""
        return Factors(self.static, self.dynamic)

    def write(self, folder: Path) -> None:
        """Write it beside the graphs.

        Raises: SaveError if it cannot be written.
        """
        data = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in vars(self).items()})
        atomic_write(folder / NAME, lambda file: file.write(data))


def ask(model: Disentangler, x: Tensor, noise: Tensor, factors: Factors | None = None) -> Reference:
    """Return what a model, or any runtime, answers; the sample is of the ``factors`` given, or of its own."""
    with torch.no_grad(), model.evaluating():
        f = model.encode(x)
        y = model.sample(f if factors is None else factors, noise, STEPS)
    return Reference(x.cpu(), f.static.float().cpu(), f.dynamic.float().cpu(), noise.cpu(), y.float().cpu())


def request(recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Return clips and start noise (2, 3, ...) for a recipe, the same ones always."""
    c = recipe.clips
    shape = (CLIPS, FRAMES, c.channels, *((c.size, c.size) if c.size else ()))
    draw = torch.Generator().manual_seed(0)
    return 0.5 * torch.randn(shape, generator=draw), torch.randn(shape, generator=draw)


def read(folder: Path) -> Reference:
    """Read it.

    Raises: CheckpointError if it is missing or damaged.
    """
    try:
        return Reference(**safetensors.torch.load_file(folder / NAME))
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder / NAME}: cannot be read ({error}); export again") from None
