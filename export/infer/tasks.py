"""What can be done with a tile of clips: one small class a task."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import numpy as np
from torch import Tensor

from diffsda.disentangler import Disentangler, StartNoise
from diffsda.errors import InputError

Array = np.ndarray[Any, Any]


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
    """Start noises to choose from, the usual one first; empty for a task that does not sample."""
    steps: int | None = None
    noise: str | None = None

    @abstractmethod
    def run(self, session: Disentangler, given: list[Array], seeds: list[int]) -> dict[str, Tensor]:
        """Return the results for a tile, each with the clips along the first axis.

        Shapes: given, an array (T, V, ...) of clips in the model's units for each of ``fields``; seeds, T of them.
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

    def run(self, session: Disentangler, given: list[Array], seeds: list[int]) -> dict[str, Tensor]:
        """Return the factors."""
        factors = session.encode(given[0])
        return {"static": factors.static, "dynamic": factors.dynamic}


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Task):
    """Clips to factors and back, from their own start noise or from fresh noise."""

    name = "reconstruct"
    noises = ("own", "fresh")

    def run(self, session: Disentangler, given: list[Array], seeds: list[int]) -> dict[str, Tensor]:
        """Return the clips x (T, V, ...)."""
        noise: Any = self.noise
        return {"x": session.reconstruct(given[0], noise=noise, steps=self.steps, seed=seeds)}


@dataclass(frozen=True, kw_only=True)
class Swap(Task):
    """The static factor of one clip with the dynamics of another."""

    name = "swap"
    fields = ("static", "dynamic")
    noises = get_args(StartNoise)

    def run(self, session: Disentangler, given: list[Array], seeds: list[int]) -> dict[str, Tensor]:
        """Return the clips x (T, V, ...), with the frames of the dynamics donors."""
        noise: Any = self.noise
        return {"x": session.swap(given[0], given[1], noise=noise, steps=self.steps, seed=seeds)}


TASKS: dict[str, type[Task]] = {kind.name: kind for kind in (Encode, Reconstruct, Swap)}
"""The tasks there are, by name."""


def task_named(name: str, session: Disentangler, *, noise: str | None = None, steps: int | None = None) -> Task:
    """Return a task with nothing left open: what is None becomes the task's, or the model's, own.

    Raises: InputError for an unknown name, and for options the task does not have.
    """
    if name not in TASKS:
        raise InputError(f"task: got {name!r}, expected one of {', '.join(TASKS)}")
    kind = TASKS[name]
    if not kind.noises:
        for option, value in (("noise", noise), ("steps", steps)):
            if value is not None:
                raise InputError(f"{option}: got {value!r}, expected none: {name} does not sample")
        return kind()
    if noise is not None and noise not in kind.noises:
        raise InputError(f"noise: got {noise!r}, expected one of {', '.join(kind.noises)} for {name}")
    steps = session.recipe.sampling.steps if steps is None else steps
    if type(steps) is not int or steps < 2:
        raise InputError(f"steps: got {steps!r}, expected a whole number of at least 2")
    return kind(noise=noise or kind.noises[0], steps=steps)
