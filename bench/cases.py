"""What is timed: a preset, our model and the published one on the same weights, and the same clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.authors_keys import to_theirs
from diffsda.bench import published
from diffsda.bench.floor import Operation, flops, operations, seconds
from diffsda.bench.published.operations import What
from diffsda.factors import Factors
from diffsda.model import DiffSDA
from diffsda.presets import preset
from diffsda.train.data import Batch
from diffsda.train.parallel import Processes
from diffsda.train.step import TrainStep, draw

CASES = {"physionet": 2, "tiny_video": 4}
"""Preset and batch size: a vector and a video model, small enough for a CPU."""
STEPS = 32
"""Solver steps of the sample: 63 evaluations."""
TOLERANCE = 1e-4
"""Largest difference allowed between ours and published, relative to the largest value: a speed of something
else is no speed. The stochastic parts of a training step are given the same draws."""


@dataclass(frozen=True)
class Case:
    """One preset with everything needed to time it both ways."""

    name: str
    batch: int

    @cached_property
    def ours(self) -> DiffSDA:
        """Our model, with every weight random (a fresh last layer would make the network trivial)."""
        torch.manual_seed(0)
        recipe = preset(self.name)
        # Dropout draws differ between two implementations; without it the losses can be compared.
        recipe = recipe.replace(
            backbone={"dropout": 0.0},
            encoder={"dropout": 0.0},
            optim={"batch": self.batch},
            sampling={"steps": STEPS},
        )
        model = DiffSDA(recipe).eval()
        with torch.no_grad():
            for p in model.parameters():
                if p.abs().max() < 1e-4:
                    p.normal_(std=0.02)
        return model

    @cached_property
    def published(self) -> published.Published:
        """The published model on the same weights; its dead attention stays as it was drawn."""
        model = published.build(self.ours.recipe)
        model.load_state_dict(to_theirs(self.ours.state_dict(), self.ours), strict=False)
        return model.eval()

    @cached_property
    def clips(self) -> Tensor:
        """Clips (B, V, ...) at the scale the model expects."""
        c = self.ours.recipe.clips
        frame = (c.channels, c.size, c.size) if c.size else (c.channels,)
        assert c.frames is not None
        return 0.5 * torch.randn(self.batch, c.frames, *frame, generator=torch.Generator().manual_seed(1))

    @cached_property
    def noise(self) -> Tensor:
        """Unit noise like the clips."""
        return torch.randn(self.clips.shape, generator=torch.Generator().manual_seed(2))

    @cached_property
    def factors(self) -> Factors:
        """The clips' factors."""
        with torch.no_grad():
            return self.ours.encode(self.clips)

    @cached_property
    def condition(self) -> Tensor:
        """The clips' factors as the published model reads them."""
        with torch.no_grad():
            return self.published.encode(self.clips)[2]

    def floor(self, what: What) -> tuple[float, int]:
        """Return the floor's seconds and its FLOPs."""
        listed: list[Operation] = operations(self.ours.recipe, what, self.batch, self.clips.shape[1])
        return seconds(listed, repeats=7), flops(listed)


@lru_cache
def case(name: str) -> Case:
    """Return the case of a preset, built once."""
    return Case(name, CASES[name])


def encode(one: Case, who: str) -> Callable[[], Tensor]:
    """Encode the clips; the result is the static factor."""
    model = one.ours if who == "ours" else one.published

    @torch.no_grad()
    def call() -> Tensor:
        out: Any = model.encode(one.clips)
        return out.static if who == "ours" else out[0]

    return call


def denoise(one: Case, who: str) -> Callable[[], Tensor]:
    """Evaluate the network once, as the sampler does: conditioning ready beforehand where it can be."""
    sigma = 0.7
    if who == "published":

        @torch.no_grad()
        def theirs() -> Tensor:
            return one.published.denoise(one.noise, sigma, one.condition).reshape(one.noise.shape)

        return theirs
    rows, edm = one.noise.flatten(0, 1), one.ours.denoiser.precondition
    evaluate = one.ours.denoiser.evaluate((sigma,), one.factors.per_frame().flatten(0, 1))

    @torch.no_grad()
    def call() -> Tensor:
        f = evaluate(rows * edm.c_in(sigma), 0)
        return torch.add(rows * edm.c_skip(sigma), f, alpha=edm.c_out(sigma)).reshape(one.noise.shape)

    return call


def sample(one: Case, who: str) -> Callable[[], Tensor]:
    """Make clips with 63 evaluations, tables included."""
    if who == "ours":
        return lambda: one.ours.sample(one.factors, one.noise)
    return lambda: published.sample(one.published, one.noise, one.condition)


def train(one: Case, who: str) -> Callable[[], Tensor]:
    """Do one optimiser step, noise drawing aside; the result is the loss."""
    recipe, step = one.ours.recipe, iter(range(10**9))
    if who == "ours":
        model = Case(one.name, one.batch).ours
        adamw = torch.optim.AdamW(
            model.parameters(), lr=recipe.optim.lr, weight_decay=recipe.optim.weight_decay, fused=True
        )
        run = TrainStep(model, adamw, recipe, Processes(0, 1, torch.device("cpu")))
        return lambda: run(Batch(one.clips), next(step), recipe.optim.lr)[0]
    theirs = Case(one.name, one.batch).published
    optimiser = published.optimiser(theirs)

    def call() -> Tensor:
        draws = draw(recipe, one.clips.shape, next(step), torch.device("cpu"))
        sigma, noise = draws.rows(slice(None))
        normal = (sigma.log() - recipe.noise.P_mean) / recipe.noise.P_std
        normal = normal.reshape(*normal.shape, *(1,) * (noise.ndim - 2))
        return torch.as_tensor(published.step(theirs, optimiser, one.clips, noise=(normal, noise))[0])

    return call


def records_folder() -> Path:
    """Return where records are kept."""
    return Path(__file__).parent / "records"
