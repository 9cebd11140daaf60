"""A small recorded request in every exported folder: what the model answered, for runtimes to be compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from diffsda.atomic import atomic_write
from diffsda.disentangler import Disentangler
from diffsda.errors import CheckpointError
from diffsda.export.graphs import Graph
from diffsda.factors import Factors
from diffsda.recipe import Recipe

NAME = "reference.safetensors"
CLIPS, FRAMES, STEPS = 2, 3, 4


@dataclass(frozen=True)
class Reference:
    """Clips, their factors, start noise, and the clips that ``STEPS`` solver steps make of those.

    Shapes: x, noise and sample (2, 3, ...); static (2, S) or (2, 3, S); dynamic (2, 3, D).
    ``parts``: for each graph beside the model's own its inputs and outputs, 2 rows of each, by name.
    """

    x: Tensor
    static: Tensor
    dynamic: Tensor
    noise: Tensor
    sample: Tensor
    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def factors(self) -> Factors:
        """Both factors."""
        return Factors(self.static, self.dynamic)

    def write(self, folder: Path) -> None:
        """Write it beside the graphs.

        Raises: SaveError if it cannot be written.
        """
        held = {name: value for name, value in vars(self).items() if name != "parts"}
        held |= {f"{graph}.{name}": t for graph, part in self.parts.items() for name, t in part.items()}
        data = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in held.items()})
        atomic_write(folder / NAME, lambda file: file.write(data))


def ask(model: Disentangler, x: Tensor, noise: Tensor, factors: Factors | None = None) -> Reference:
    """Return what a model, or any runtime, answers; the sample is of the ``factors`` given, or of its own."""
    with torch.no_grad(), model.evaluating():
        f = model.encode(x)
        y = model.sample(f if factors is None else factors, noise, STEPS)
    return Reference(x.cpu(), f.static.float().cpu(), f.dynamic.float().cpu(), noise.cpu(), y.float().cpu())


@torch.no_grad()
def recorded(graph: Graph) -> dict[str, Tensor]:
    """Return the inputs and outputs of two rows of a graph's example, as the model itself answers."""
    given = [t[:CLIPS] for t in graph.example]
    answer = graph.original(*given)
    outputs = answer if isinstance(answer, tuple) else (answer,)
    return {name: t.clone() for name, t in zip((*graph.inputs, *graph.outputs), (*given, *outputs), strict=True)}


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
        held = safetensors.torch.load_file(folder / NAME)
        parts: dict[str, dict[str, Tensor]] = {}
        for name in [name for name in held if "." in name]:
            graph, _, port = name.partition(".")
            parts.setdefault(graph, {})[port] = held.pop(name)
        return Reference(**held, parts=parts)
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder / NAME}: cannot be read ({error}); export again") from None
