"""What can be done with a tile of clips: one small class a task."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from diffsda.disentangler import Disentangler, StartNoise
from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError
from diffsda.tasks.generate import frame_shape
from diffsda.tasks.own_prior import FactorPrior
from diffsda.tasks.traverse import Components


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A task, its options as fields.

    To add one, subclass it, name what a job line must hold in ``fields``, write ``run``, and enter it in ``TASKS``.
    """

    name: ClassVar[str]
    fields: ClassVar[tuple[str, ...]] = ("path",)
    """Fields of a job line that name clips."""
    clips: ClassVar[frozenset[str]] = frozenset({"x"})
    """Results that are clips, to be brought back into the units people use."""
    noises: ClassVar[tuple[str, ...]] = ()
    """Start noises to choose from, the usual one first (of swaps: the model's policy); empty without sampling."""
    steps: int | None = None
    noise: str | None = None

    @abstractmethod
    def run(self, session: Disentangler, given: list[Any], seeds: list[int]) -> dict[str, Tensor]:
        """Return the results for a tile, each with the clips along the first axis.

        Shapes: given, an array or tensor (T, V, ...) of clips in the model's units for each of ``fields``; seeds, T of
        them.
        """

    def about(self) -> dict[str, Any]:
        """Return what of the task determines its results."""
        return {"task": self.name, "noise": self.noise, "steps": self.steps}

    def short(self) -> Task:
        """Return the same task with as few solver steps as there can be."""
        return self if self.steps is None else dataclasses.replace(self, steps=2)


@dataclass(frozen=True, kw_only=True)
class Encode(Task):
    """Clips to factors: static (S,), or (V, S) when not shared, and dynamic (V, D)."""

    name = "encode"
    clips = frozenset()

    def run(self, session: Disentangler, given: list[Any], seeds: list[int]) -> dict[str, Tensor]:
        """Return the factors."""
        factors = session.encode(given[0])
        return {"static": factors.static, "dynamic": factors.dynamic}


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Task):
    """Clips to factors and back, from their own start noise or from fresh noise."""

    name = "reconstruct"
    noises = ("own", "fresh")

    def run(self, session: Disentangler, given: list[Any], seeds: list[int]) -> dict[str, Tensor]:
        """Return the clips x (T, V, ...)."""
        noise: Any = self.noise
        return {"x": session.reconstruct(given[0], noise=noise, steps=self.steps, seed=seeds)}


@dataclass(frozen=True, kw_only=True)
class Swap(Task):
    """The static factor of one clip with the dynamics of another."""

    name = "swap"
    fields = ("static", "dynamic")
    noises = get_args(StartNoise)

    def run(self, session: Disentangler, given: list[Any], seeds: list[int]) -> dict[str, Tensor]:
        """Return the clips x (T, V, ...), with the frames of the dynamics donors."""
        noise: Any = self.noise
        return {"x": session.swap(given[0], given[1], noise=noise, steps=self.steps, seed=seeds)}


@dataclass(frozen=True, kw_only=True)
class Generate(Task):
    """New clips, whose factors the prior draws: each from its key and the seed alone."""

    name = "generate"
    fields = ()
    noises = ("recipe", "fresh", "shared")
    prior: FactorPrior
    prior_digest: str
    """A name for the prior."""
    prior_steps: int | None = None
    """Steps of the prior's sampler; None takes its own number."""

    def run(self, session: Disentangler, given: list[Any], seeds: list[int]) -> dict[str, Tensor]:
        """Return the clips x (T, V, ...) and the factors they are of."""
        like = session._like()
        f = self.prior.sample(len(seeds), seeds, steps=self.prior_steps).to(like.device)
        shared = session.shared_noise if self.noise == "recipe" else self.noise == "shared"
        start = SampleNoise(seeds, (len(seeds), f.frames, *frame_shape(session)), like=like, shared=shared)()
        return {"x": session.sample(f, start, self.steps, seeds), "static": f.static, "dynamic": f.dynamic}

    def about(self) -> dict[str, Any]:
        """Return what of the task determines its results."""
        return {**super().about(), "prior": self.prior_digest, "prior_steps": self.prior_steps}


@dataclass(frozen=True, kw_only=True)
class Traverse(Task):
    """A clip with one factor moved along one component, once for each alpha; all else stays, start noise too."""

    name = "traverse"
    noises = ("own",)
    basis: Components
    component: int = 1
    """Counted from 1, those that explain most first."""
    alphas: tuple[float, ...] = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)

    def __post_init__(self) -> None:
        if not 1 <= self.component <= len(self.basis.directions):
            raise InputError(f"component: got {self.component}, expected 1 to {len(self.basis.directions)}")
        if not self.alphas or not all(math.isfinite(alpha) for alpha in self.alphas):
            raise InputError(f"alphas: got {self.alphas}, expected numbers, at least one")

    def run(self, session: Disentangler, given: list[Any], seeds: list[int]) -> dict[str, Tensor]:
        """Return the clips x (T, A, V, ...) and their alphas (T, A)."""
        f = session.encode(given[0])
        start = session.invert(given[0], f, self.steps)
        ways = [self.basis.edit(f, self.component - 1, alpha) for alpha in self.alphas]
        x = torch.stack([session.sample(way, start, self.steps, seeds) for way in ways], dim=1)
        return {"x": x, "alpha": torch.tensor(self.alphas).expand(len(seeds), -1)}

    def about(self) -> dict[str, Any]:
        """Return what of the task determines its results."""
        held = self.basis
        digest = hashlib.sha256(held.factor.encode())
        for part in (held.std, held.directions[self.component - 1]):
            digest.update(np.ascontiguousarray(part, np.float64).tobytes())
        return {**super().about(), "basis": digest.hexdigest(), "alphas": list(self.alphas)}


TASKS: dict[str, type[Task]] = {kind.name: kind for kind in (Encode, Reconstruct, Swap, Generate, Traverse)}
"""The tasks there are, by name."""


def task_named(
    name: str, session: Disentangler, *, noise: str | None = None, steps: int | None = None, **own: Any
) -> Task:
    """Return a task with nothing left open: what is None becomes the task's, or the model's, own.

    ``own``: what one task alone needs, such as the prior it draws from.
    Raises: InputError for an unknown name, and for options the task does not have.
    """
    if name not in TASKS:
        raise InputError(f"task: got {name!r}, expected one of {', '.join(TASKS)}")
    kind = TASKS[name]
    if not kind.noises:
        for option, value in (("noise", noise), ("steps", steps)):
            if value is not None:
                raise InputError(f"{option}: got {value!r}, expected none: {name} does not sample")
        return kind(**own)
    if noise is not None and noise not in kind.noises:
        raise InputError(f"noise: got {noise!r}, expected one of {', '.join(kind.noises)} for {name}")
    steps = session.recipe.sampling.steps if steps is None else steps
    if type(steps) is not int or steps < 2:
        raise InputError(f"steps: got {steps!r}, expected a whole number of at least 2")
    missing = {"generate": "prior", "traverse": "basis"}.get(name)
    if missing is not None and missing not in own:
        raise InputError(f"{missing}: got none, expected one for {name}")
    usual = session.policy if kind is Swap else kind.noises[0]
    return kind(noise=noise or usual, steps=steps, **own)
