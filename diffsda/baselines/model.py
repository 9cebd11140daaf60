"""A system of others as a model of this house: the same verbs, units, lengths and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsda import check
from diffsda.baselines.recipe import SystemRecipe
from diffsda.baselines.registry import network_of
from diffsda.disentangler import Progress, Seed, blank
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.firststage.whiten import Whitening
from diffsda.terms import Terms
from diffsda.trainable import Trainable

_STATIC, _DYNAMIC = 1, 2
"""Streams that keep new static codes, new dynamic codes and what drives a decoder apart under the same seed."""


@dataclass(frozen=True)
class SeedDraws:
    """The seed of a step, from which a system draws in an order of its own."""

    seed: int

    def rows(self, rows: slice) -> tuple[Tensor]:
        """Return a seed (1,) for these clips: those of other processes draw other numbers."""
        return (torch.tensor([(self.seed + rows.start) % 2**63]),)


class Baseline(Trainable):
    """One of the other systems, its network in ``system``.

    Clips of video are in [-1, 1] as everywhere here; a network that works on values from 0 to 1 gets and gives those.
    A system whose dynamic codes are of windows of frames repeats each over its frames.
    Source: the systems' own files.
    """

    recipe: SystemRecipe

    def __init__(self, recipe: SystemRecipe, whitening: Whitening | None = None) -> None:
        super().__init__()
        self.recipe, self.whitening = recipe, whitening
        self.provenance: dict[str, Any] = {}
        self.system = network_of(recipe.system, recipe.settings)
        self.cannot = self.system.cannot
        self.stochastic = self.system.stochastic
        self.frames_apart = self.system.frames_apart
        self.policy = self.system.policy
        if self.policy == "shared" and not self.shared_noise:
            self.policy = "fresh"
        self._terms: dict[str, Tensor] = {}

    @property
    def shared_noise(self) -> bool:
        """Whether drawn noise is one frame's for all, as the system's settings say."""
        return bool(getattr(self.recipe.settings, "shared_noise", False))

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
        """Make clips with these factors; see ``Disentangler.sample``.

        Raises: InputError for factors, steps, noise or lengths that do not fit.
        """
        shape = self._clip_shape(f)
        like = self._like()
        f = self._windows(f.to(like))
        given = None
        if self.system.stochastic:
            given = None if noise is None else self._clips(noise, "noise")
            if given is not None and tuple(given.shape) != tuple(shape):
                raise InputError(f"noise: got {tuple(given.shape)}, expected {tuple(shape)} for these factors")
        held = check.lengths(lengths, like.new_empty(shape))
        with self.evaluating():
            y = self.system.decode(f, given, steps, seed, **self._how(held, progress))
        # A last window may be longer than what is left of the clip.
        return blank(self._outside(y)[:, : shape[1]], held)

    @torch.no_grad()
    def invert(
        self, x: Any, f: Factors, steps: int | None = None, *, lengths: Any = None, progress: Progress = iter
    ) -> Tensor:
        """Return the start noise that leads to these clips; zeros where the system has none.

        Shapes: like x. Raises: InputError as ``Disentangler.invert``.
        """
        x = self._clips(x)
        self._same_clips(x, f)
        lengths = check.lengths(lengths, x)
        if not self.system.stochastic:
            return torch.zeros_like(x)
        with self.evaluating():
            return blank(self.system.invert(self._inside(x), f, steps, **self._how(lengths, progress)), lengths)

    @torch.no_grad()
    def sample_static(self, count: int, seed: Seed = 0) -> Tensor:
        """Return new static codes (N, S), each from its seed.

        Raises: InputError where the system has no prior.
        """
        if "sample_static" in self.cannot:
            raise self.refusal("sample_static")
        return self._each(count, seed, _STATIC, lambda generator: self.system.sample_static(1, generator))

    @torch.no_grad()
    def sample_dynamic(self, count: int, frames: int, seed: Seed = 0) -> Tensor:
        """Return new dynamic codes (N, V, D), each from its seed.

        Raises: InputError where the system has no prior.
        """
        if "sample_dynamic" in self.cannot:
            raise self.refusal("sample_dynamic")
        window = self._window
        codes = self._each(
            count, seed, _DYNAMIC, lambda generator: self.system.sample_dynamic(1, -(-frames // window), generator)
        )
        return codes.repeat_interleave(window, 1)[:, :frames]

    def training_draws(self, shape: Sequence[int], seed: int, device: torch.device) -> SeedDraws:
        """Return the seed: the system draws what it needs from it."""
        return SeedDraws(seed)

    def forward(
        self, x: Any, *draws: Tensor, mask: Any = None, lengths: Any = None, count: float | Tensor | None = None
    ) -> Tensor:
        """Compute the training loss, the weighted sum of the system's terms; ``count`` does not change it.

        Raises: InputError for shapes that do not belong together, and missing values in a system that cannot skip them.
        """
        generator = None
        if draws:
            generator = torch.Generator(self._like().device).manual_seed(int(draws[0][0]))
        terms = self.terms(x, lengths, mask, generator=generator)
        self._terms = {name: term.detach() for name, term in terms.terms.items()}
        return terms.total

    def terms(
        self, x: Any, lengths: Any = None, mask: Any = None, *, generator: torch.Generator | None = None
    ) -> Terms:
        """Return the training loss by the system's terms.

        Raises: InputError as ``forward``.
        """
        x = self._clips(x)
        lengths = check.lengths(lengths, x)
        how: dict[str, Any] = {}
        if mask is not None:
            if not self.system.masks:
                raise InputError(
                    f"{self.recipe.system}: cannot train on missing values: its loss is over whole clips; fill them in "
                    "and leave out the mask"
                )
            how["mask"] = check.mask(mask, x)
        x, lengths = self._whole(x, lengths)
        if how.get("mask") is not None:
            how["mask"] = self._whole(how["mask"], lengths)[0]
        return self.system.loss(self._inside(x), lengths, generator, **how)

    def named_terms(self) -> dict[str, Tensor]:
        """Return the terms of the last training loss, detached."""
        return self._terms

    def begin_epoch(self, epoch: int) -> None:
        """Tell the system the epoch, for annealing and warm-up."""
        self.system.epoch = epoch

    def _encode(self, x: Tensor, lengths: Tensor | None) -> Factors:
        f = self.system.encode_again(*self._whole(self._inside(x), lengths))
        return Factors(f.static, f.dynamic.repeat_interleave(self._window, 1)[:, : x.shape[1]])

    def _whole(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Pad clips to whole windows; what is added is beyond their lengths."""
        more = -x.shape[1] % self._window
        if not more:
            return x, lengths
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        return torch.cat([x, x.new_zeros(len(x), more, *x.shape[2:])], 1), lengths

    def _like(self) -> Tensor:
        return next(self.parameters())

    @property
    def _window(self) -> int:
        return int(getattr(self.recipe.settings, "window", 1))

    def _windows(self, f: Factors) -> Factors:
        return f if self._window == 1 else Factors(f.static, f.dynamic[:, :: self._window])

    def _inside(self, x: Tensor) -> Tensor:
        return (x + 1) / 2 if self.system.unit_range else x

    def _outside(self, x: Tensor) -> Tensor:
        return 2 * x - 1 if self.system.unit_range else x

    def _how(self, lengths: Tensor | None, progress: Progress) -> dict[str, Any]:
        return {"lengths": lengths, "progress": progress} if self.system.stochastic else {}

    def _each(self, count: int, seed: Seed, stream: int, make: Callable[[torch.Generator], Tensor]) -> Tensor:
        seeds = [seed + i for i in range(count)] if isinstance(seed, int) else list(seed)
        if len(seeds) != count or any(s < 0 for s in seeds):
            raise InputError(f"seed: got {seed!r}, expected a whole number >= 0 or {count} of them, one a sample")
        with self.evaluating():
            return torch.cat([make(torch.Generator().manual_seed(_apart(int(s), stream))) for s in seeds])


def _apart(seed: int, stream: int) -> int:
    return int(np.random.SeedSequence((seed, stream)).generate_state(1, np.uint64)[0]) % 2**63
