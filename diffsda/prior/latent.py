"""The latent prior as one object: factors in, loss and samples out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.prior.diffusion import Move, follow, inversion_plan, noised, sampling_plan, signal
from diffsda.prior.network import PriorNetwork, parameters_of
from diffsda.prior.owner import Owner
from diffsda.prior.recipe import Prior, Rule

_STREAM = 0x70726972
"""Keeps the noise that factors come from apart from the noise clips come from, whatever seed both are given."""
Track = Callable[[int], Callable[[Iterable[Any]], Iterable[Any]]]
ROWS = 4096
"""Samples drawn at a time."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a prior is a prior of: factors of these widths over that many frames."""

    static: int
    dynamic: int
    frames: int

    def __post_init__(self) -> None:
        for name in ("static", "dynamic", "frames"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
                raise InputError(f"sizes.{name}: got {value!r}, expected a whole number from 1 to a million")
        if self.total > 1_000_000:
            raise InputError(f"sizes: got S + V * D = {self.total}, expected at most a million numbers a clip")

    @property
    def total(self) -> int:
        """M = S + V * D."""
        return self.static + self.frames * self.dynamic

    @classmethod
    def of(cls, f: Factors) -> Sizes:
        """Read the sizes off factors.

        Raises: InputError if the static factor is not shared, or there are none.
        """
        if not f.shared:
            raise InputError(
                f"prior: got a static factor a frame {tuple(f.static.shape)}, expected one a clip (B, S): a model "
                "trained with encoder.shared_static false has no prior over z = [s | d_1 .. d_V]"
            )
        return cls(static=f.static.shape[1], dynamic=f.dynamic.shape[2], frames=f.frames)


class LatentPrior(nn.Module):
    """A diffusion model of factors z = [s | d_1 .. d_V], each dimension brought to mean 0 and deviation 1.

    With ``recipe.split`` s and d have networks of their own.
    Source: DiffSDA appendix B.3 and G.1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Prior, sizes: Sizes) -> None:
        super().__init__()
        self.recipe, self.sizes = recipe, sizes
        self.columns = columns(recipe, sizes)
        options: dict[str, Any] = {"layers": recipe.layers, "width": recipe.width, "dropout": recipe.dropout}
        self.networks = nn.ModuleDict(
            {name: PriorNetwork(part.stop - part.start, **options) for name, part in self.columns.items()}
        )
        self.register_buffer("mean", torch.zeros(sizes.total))
        self.register_buffer("std", torch.ones(sizes.total))
        self.owner: Owner | None = None
        """The model whose factors it knows, where that has been said."""
        self.provenance: dict[str, Any] = {}

    @torch.no_grad()
    def measure(self, f: Factors) -> None:
        """Take the statistics of factors for its own, where the recipe normalises.

        A dimension of s has its own over clips, one of d its own over clips and frames; one that never varies gets
        deviation 1.
        """
        self._check(f)
        if not self.recipe.normalise:
            return
        static, dynamic = f.static.double(), f.dynamic.double().flatten(0, 1)
        parts = [(static, 1), (dynamic, self.sizes.frames)]
        self.mean.copy_(torch.cat([x.mean(0).repeat(times) for x, times in parts]))
        std = torch.cat([x.std(0, correction=0).repeat(times) for x, times in parts])
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def pack(self, f: Factors) -> Tensor:
        """Return normalised z (B, M) of factors.

        Raises: InputError for factors of other sizes.
        """
        self._check(f)
        return (f.pack().to(self.mean) - self.mean) / self.std

    def unpack(self, z: Tensor) -> Factors:
        """Return the factors of normalised z (B, M)."""
        return Factors.unpack(z * self.std + self.mean, self.sizes.static, self.sizes.dynamic)

    def forward(self, z: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Compute the training loss, a scalar: how far the noise seen in z with eps added is from eps.

        Shapes: z, eps (B, M), normalised; t (B,) diffusion steps from 0. Two networks add their losses.
        Source: DiffSDA Eq. 11; the authors' code squares the error.
        """
        given = noised(z, t, eps, signal(self.recipe))
        error = nn.functional.mse_loss if self.recipe.loss == "mse" else nn.functional.l1_loss
        losses = [error(self.networks[name](given[:, part], t), eps[:, part]) for name, part in self.columns.items()]
        return torch.stack(losses).sum()

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        """Return the noise seen in z (B, M) at steps t (B,)."""
        return torch.cat([self.networks[name](z[:, part], t) for name, part in self.columns.items()], dim=1)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        seeds: int | Sequence[int] = 0,
        *,
        steps: int | None = None,
        rule: Rule | None = None,
        eta: float | None = None,
        track: Track = lambda total: iter,
    ) -> Factors:
        """Draw the factors of ``count`` clips: static (count, S), dynamic (count, V, D).

        Sample i draws from seed + i, or one seed a sample, whatever else is drawn with it; clips sampled with the same
        seeds draw other numbers. What is left open is the recipe's (see ``sampling_plan``). ``track`` is told how many
        steps there are in all, and gives something that watches them go by.
        Raises: InputError for a count below 1, seeds that are not as many, or a plan that cannot be.
        """
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise InputError(f"count: got {count!r}, expected a whole number of samples, at least 1")
        own = [seeds + i for i in range(count)] if isinstance(seeds, int) else [int(s) for s in seeds]
        if len(own) != count or min(own) < 0:
            raise InputError(f"seeds: got {seeds!r}, expected a number >= 0, or {count} of them")
        moves = sampling_plan(self.recipe, steps=steps, rule=rule, eta=eta)
        starts, parts = range(0, count, ROWS), []
        progress = track(len(starts) * len(moves))
        for start in starts:
            drawn = [_mixed(seed) for seed in own[start : start + ROWS]]
            fresh = SampleNoise(drawn, (len(drawn), self.sizes.total), like=self.mean)
            parts.append(self._follow(fresh(), moves, fresh, progress))
        return self.unpack(torch.cat(parts))

    @torch.no_grad()
    def invert(self, f: Factors, *, steps: int | None = None, rule: Rule | None = None) -> Tensor:
        """Return the unit noise (B, M) that factors come from, by reverse DDIM.

        Raises: InputError for factors of other sizes, or a plan that cannot be.
        """
        return self._follow(self.pack(f), inversion_plan(self.recipe, steps=steps, rule=rule), None, iter)

    def _follow(
        self,
        z: Tensor,
        moves: Sequence[Move],
        fresh: Callable[[], Tensor] | None,
        progress: Callable[[Iterable[Any]], Iterable[Any]],
    ) -> Tensor:
        """Go a plan with the scales of all its steps and layers worked out beforehand, in one product a network."""
        was = self.training
        self.eval()
        try:
            steps = torch.tensor([move.t for move in moves], device=z.device)
            nets = [(self.networks[name], part) for name, part in self.columns.items()]
            tables = [net.scales(steps) for net, _ in nets]  # type: ignore[operator]

            def predict(z: Tensor, i: int) -> Tensor:
                found = [net.network(z[:, part], table[i : i + 1]) for (net, part), table in zip(nets, tables)]  # type: ignore[operator]
                return found[0] if len(found) == 1 else torch.cat(found, dim=1)

            return follow(predict, z, moves, fresh=fresh, progress=progress)
        finally:
            self.train(was)

    def _check(self, f: Factors) -> None:
        given = Sizes.of(f)
        if given != self.sizes:
            own = self.sizes
            raise InputError(
                f"prior: got factors S {given.static}, D {given.dynamic} over {given.frames} frames, expected "
                f"S {own.static}, D {own.dynamic} over {own.frames}, which is what it was trained on"
            )


def columns(recipe: Prior, sizes: Sizes) -> dict[str, slice]:
    """Return the part of z each network models, by the network's name."""
    if recipe.split:
        return {"static": slice(0, sizes.static), "dynamic": slice(sizes.static, sizes.total)}
    return {"joint": slice(0, sizes.total)}


def parameters(recipe: Prior, sizes: Sizes) -> int:
    """Return the number of parameters of a prior, without building it."""
    parts = columns(recipe, sizes).values()
    return sum(parameters_of(p.stop - p.start, layers=recipe.layers, width=recipe.width) for p in parts)


def _mixed(seed: int) -> int:
    """Return another seed that goes with this one."""
    return int(np.random.SeedSequence((2, seed, _STREAM)).generate_state(1, np.uint64)[0] >> np.uint64(1))
