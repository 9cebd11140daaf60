"""What can be asked of a model, whatever runs it: encode, sample, invert, reconstruct, swap."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from diffsda import check
from diffsda.edm.noise import SampleNoise
from diffsda.edm.precondition import Precondition
from diffsda.edm.schedule import Plan, Step, inversion_plan, sampling_plan
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.firststage.whiten import Whitening
from diffsda.nn.recurrent import real_rows, valid
from diffsda.recipe import Recipe, Sampling

Seed = int | Sequence[int]
Progress = Callable[[Iterable[Step]], Iterable[Step]]
StartNoise = Literal["dynamic", "static", "fresh", "shared"]


class Disentangler(ABC):
    """A model's verbs and the checks of what they are given, over two hooks: encode a batch, follow a plan.

    ``DiffSDA`` runs them on its own weights, ``Session`` on networks prepared for inference.
    Clips are (B, V, C, H, W) for video and (B, V, F) for audio and series.
    """

    recipe: Recipe
    whitening: Whitening | None
    provenance: dict[str, Any]

    @abstractmethod
    def _encode(self, x: Tensor, lengths: Tensor | None) -> Factors:
        """Return the factors of checked clips."""

    @abstractmethod
    def _follow(
        self, x: Tensor, a: Tensor, plan: Plan, fresh: Callable[[], Tensor] | None, progress: Progress, frames: int
    ) -> Tensor:
        """Follow a plan from rows x (N, ...) under the factors a (N, D + S); return where it ends, like x.

        ``frames``: rows of a clip, where all are whole.
        """

    @abstractmethod
    def _like(self) -> Tensor:
        """Return a tensor on the device and of the type that clips are to be in."""

    @abstractmethod
    def _edm(self) -> Precondition:
        """Return the preconditioning around the network."""

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch dropout off for a while: ``with model.evaluating(): ...``."""
        yield

    def encode(self, x: Any, lengths: Any = None) -> Factors:
        """Take clips apart into static and dynamic factors; dropout follows the module's mode.

        Shapes: x (B, V, C, H, W) or (B, V, F); lengths (B,) from 2 to V, padding beyond them is ignored ->
        static (B, S) (or (B, V, S) when not shared), dynamic (B, V, D).
        Source: DiffSDA section 4.2.
        Raises: InputError for clips or lengths the model cannot read.
        """
        x = self._clips(x)
        return self._encode(x, check.lengths(lengths, x))

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

    @torch.no_grad()
    def reconstruct(
        self,
        x: Any,
        lengths: Any = None,
        *,
        noise: Literal["own", "fresh"] = "own",
        steps: int | None = None,
        seed: Seed = 0,
        progress: Progress = iter,
    ) -> Tensor:
        """Encode clips and sample them back, from their own stochastic code or from fresh noise.

        Shapes: like x; padded frames come back as 0.
        Raises: InputError for an unknown ``noise``, and as ``encode`` and ``sample``.
        """
        if noise not in ("own", "fresh"):
            raise InputError(f"noise: got {noise!r}, expected 'own' or 'fresh'")
        with self.evaluating():
            x = self._clips(x)
            lengths = check.lengths(lengths, x)
            f = self._encode(x, lengths)
            options: dict[str, Any] = {"lengths": lengths, "progress": progress}
            start = self.invert(x, f, steps, **options) if noise == "own" else None
            return self.sample(f, start, steps, seed, **options)

    @torch.no_grad()
    def swap(
        self,
        x_static: Any,
        x_dynamic: Any,
        *,
        noise: StartNoise = "dynamic",
        steps: int | None = None,
        seed: Seed = 0,
        lengths_static: Any = None,
        lengths_dynamic: Any = None,
        progress: Progress = iter,
    ) -> Tensor:
        """Make clips with the static factor of one batch and the dynamic factors of another.

        ``noise`` names where the start noise comes from: ``dynamic`` or ``static`` inverts that donor's clip,
        ``fresh`` draws it, ``shared`` draws one frame's and repeats it.
        Shapes: x_static (B, V', ...), x_dynamic (B, V, ...) -> like x_dynamic; padded frames come back as 0.
        Source: DiffSDA appendix B.4 (start noise of the dynamics donor).
        Raises: InputError for an unknown ``noise``, batches of different sizes, or donors whose lengths must
        agree (``noise='static'``, or a static factor that is not shared) and do not.
        """
        if noise not in ("dynamic", "static", "fresh", "shared"):
            raise InputError(f"noise: got {noise!r}, expected 'dynamic', 'static', 'fresh' or 'shared'")
        with self.evaluating():
            x_static = self._clips(x_static, "x_static")
            x_dynamic = self._clips(x_dynamic, "x_dynamic")
            if x_static.shape[0] != x_dynamic.shape[0]:
                raise InputError(
                    f"swap: got {x_static.shape[0]} static and {x_dynamic.shape[0]} dynamic donors, "
                    "expected as many of each"
                )
            if x_static.shape[1] != x_dynamic.shape[1] and (noise == "static" or not self.recipe.encoder.shared_static):
                raise InputError(
                    f"swap: got donors of {x_static.shape[1]} and {x_dynamic.shape[1]} frames, expected as many "
                    "frames when the start noise or a per-frame static factor comes from the static donor"
                )
            lengths_static = check.lengths(lengths_static, x_static, name="lengths_static")
            lengths_dynamic = check.lengths(lengths_dynamic, x_dynamic, name="lengths_dynamic")
            if noise == "static" or not self.recipe.encoder.shared_static:
                _same_lengths(lengths_static, lengths_dynamic, x_dynamic.shape[1])
            giver, taker = self._encode(x_static, lengths_static), self._encode(x_dynamic, lengths_dynamic)
            mixed = giver.swap(dynamic_from=taker)
            if noise == "dynamic":
                start = self.invert(x_dynamic, taker, steps, lengths=lengths_dynamic, progress=progress)
            elif noise == "static":
                start = self.invert(x_static, giver, steps, lengths=lengths_static, progress=progress)
            else:
                start = SampleNoise(seed, x_dynamic.shape, like=x_dynamic, shared=noise == "shared")()
            return self.sample(mixed, start, steps, seed, lengths=lengths_dynamic, progress=progress)

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
        return _blank(y.unflatten(0, frames), lengths)

    def _clips(self, x: Any, name: str = "x") -> Tensor:
        like = self._like()
        return check.clips(x, self.recipe, device=like.device, dtype=like.dtype, name=name)

    def _rows(self, f: Factors) -> Tensor:
        return f.per_frame().flatten(0, 1)  # (B*V, D + S)

    def _same_clips(self, x: Tensor, f: Factors) -> None:
        self._clip_shape(f)
        if (f.batch, f.frames) != tuple(x.shape[:2]):
            raise InputError(
                f"factors: got {f.batch} clips of {f.frames} frames, expected {x.shape[0]} of {x.shape[1]} like x"
            )

    def _clip_shape(self, f: Factors) -> tuple[int, ...]:
        encoder, clips = self.recipe.encoder, self.recipe.clips
        if not isinstance(f, Factors):
            raise InputError(f"factors: got {type(f).__name__}, expected Factors, as encode returns them")
        if (f.static.shape[-1], f.dynamic.shape[-1]) != (encoder.static, encoder.dynamic):
            raise InputError(
                f"factors: got widths S {f.static.shape[-1]} and D {f.dynamic.shape[-1]}, "
                f"expected S {encoder.static} and D {encoder.dynamic}"
            )
        frame = (clips.channels,)
        if self.recipe.backbone.kind == "unet":
            assert clips.size is not None
            frame = (clips.channels, clips.size, clips.size)  # type: ignore[assignment]
        return (f.batch, f.frames, *frame)

    def _sampling(self, steps: int | None) -> Sampling:
        sampling = self.recipe.sampling
        if steps is None:
            return sampling
        if not isinstance(steps, int) or steps < 2:
            raise InputError(f"steps: got {steps!r}, expected a whole number of at least 2")
        return dataclasses.replace(sampling, steps=steps)


def _blank(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Set padded frames to 0."""
    real = valid(lengths, x.shape[1])
    return x if real is None else x * real.reshape(*real.shape, *(1,) * (x.ndim - 2))


def _same_lengths(static: Tensor | None, dynamic: Tensor | None, frames: int) -> None:
    """Refuse donors of which one would lend its padding to the other."""
    given = [[frames] if n is None or bool((n == frames).all()) else n.tolist() for n in (static, dynamic)]
    if given[0] != given[1]:
        raise InputError(
            f"swap: got static donors of lengths {given[0]} and dynamic donors of {given[1]}, expected the same "
            "when the start noise or a per-frame static factor comes from the static donor"
        )
