"""What systems that sample with EDM's solver share: DiffSDA, and what runs its networks."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diffsda import check
from diffsda.disentangler import Disentangler, Progress, Seed, blank
from diffsda.edm.noise import SampleNoise
from diffsda.edm.precondition import Precondition
from diffsda.edm.schedule import Plan, inversion_plan, sampling_plan
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.nn.recurrent import real_rows
from diffsda.recipe import Recipe, Sampling


class Diffusing(Disentangler):
    """A disentangler over two hooks: encode a batch, follow a plan of the solver.

    ``DiffSDA`` runs them on its own weights, ``Session`` on networks prepared for inference.
    """

    recipe: Recipe

    @abstractmethod
    def _follow(
        self, x: Tensor, a: Tensor, plan: Plan, fresh: Callable[[], Tensor] | None, progress: Progress, frames: int
    ) -> Tensor:
        """Follow a plan from rows x (N, ...) under the factors a (N, D + S); return where it ends, like x.

        ``frames``: rows of a clip, where all are whole.
        """

    @abstractmethod
    def _edm(self) -> Precondition:
        """Return the preconditioning around the network."""

    @torch.no_grad()
    def sample(
        self,
        f: Factors,
        noise: Any = None,
        steps: int | None = None,
        seed: Seed = 0,
        *,
        lengths: Any = None,
        progress: Progress = iter,
    ) -> Tensor:
        """Make clips with these factors: Heun's method, 2 * steps - 1 evaluations.

        Shapes: noise unit Gaussian like the clips, or None to draw it from ``seed`` (clip i from seed + i, or
        one seed a clip); lengths (B,) or None -> clips (B, V, ...), frames beyond their length 0.
        Source: DiffSDA Algorithm 1. Differs: see ``sampling_plan``.
        Raises: InputError for steps < 2 or noise of another shape.
        """
        sampling = self._sampling(steps)
        shape = self._clip_shape(f)
        like = self._like()
        source = SampleNoise(seed, shape, like=like, shared=sampling.shared_noise)
        start = source() if noise is None else self._clips(noise, "noise")
        if tuple(start.shape) != tuple(shape):
            raise InputError(f"noise: got {tuple(start.shape)}, expected {tuple(shape)} for these factors")
        plan = sampling_plan(sampling, self._edm())
        x = start * sampling.sigma_max
        return self._solve(x, f, plan, check.lengths(lengths, x), fresh=source, progress=progress)

    @torch.no_grad()
    def invert(
        self, x: Any, f: Factors, steps: int | None = None, *, lengths: Any = None, progress: Progress = iter
    ) -> Tensor:
        """Return the start noise that leads to these clips (stochastic encoding), of unit variance.

        Shapes: like x; lengths (B,) or None, frames beyond them come back 0. 2 * steps - 1 evaluations.
        Source: DiffSDA Algorithm 2. Differs: see ``inversion_plan``.
        Raises: InputError for steps < 2, or x and f of different clips.
        """
        x = self._clips(x)
        self._same_clips(x, f)
        sampling = self._sampling(steps)
        plan = inversion_plan(sampling, self._edm())
        lengths = check.lengths(lengths, x)
        return self._solve(x, f, plan, lengths, progress=progress) / sampling.sigma_max

    def _solve(
        self,
        x: Tensor,
        f: Factors,
        plan: Plan,
        lengths: Tensor | None,
        *,
        fresh: SampleNoise | None = None,
        progress: Progress,
    ) -> Tensor:
        """Follow a plan with all conditioning worked out beforehand; padded frames are 0, skipped on the CPU."""
        flat, a, frames = x.flatten(0, 1), self._rows(f), x.shape[:2]
        rows = real_rows(lengths, x.shape[1])

        def chosen(values: Tensor) -> Tensor:
            return values if rows is None else values[rows]

        noise = None if fresh is None else lambda: chosen(fresh().flatten(0, 1))
        with self.evaluating():
            y = self._follow(chosen(flat), chosen(a), plan, noise, progress, x.shape[1])
        if rows is not None:
            y = torch.zeros_like(flat).index_copy(0, rows, y)
        return blank(y.unflatten(0, frames), lengths)

    def _sampling(self, steps: int | None) -> Sampling:
        sampling = self.recipe.sampling
        if steps is None:
            return sampling
        if not isinstance(steps, int) or steps < 2:
            raise InputError(f"steps: got {steps!r}, expected a whole number of at least 2")
        return dataclasses.replace(sampling, steps=steps)
