"""What can be asked of a model, whatever runs it: encode, sample, invert, reconstruct, swap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from diffsda import check
from diffsda.edm.noise import SampleNoise
from diffsda.edm.schedule import Step
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.firststage.whiten import Whitening
from diffsda.nn.recurrent import valid
from diffsda.recipe import AnyRecipe

Seed = int | Sequence[int]
Progress = Callable[[Iterable[Step]], Iterable[Step]]
StartNoise = Literal["dynamic", "static", "fresh", "shared"]


class Disentangler(ABC):
    """What every system can be asked, whatever runs it, and the checks of what it is given.

    ``DiffSDA`` is one system, ``baselines.model.Baseline`` wraps the others; ``Session`` runs networks prepared for
    inference. What a system cannot do it says in ``cannot``, task -> why.
    Clips are (B, V, C, H, W) for video and (B, V, F) for audio and series.
    """

    recipe: AnyRecipe
    whitening: Whitening | None
    provenance: dict[str, Any]
    cannot: Mapping[str, str] = MappingProxyType({})
    policy: StartNoise = "dynamic"
    """Where swaps start from in the system's own evaluation."""
    stochastic: bool = True
    """Whether clips start from noise; else they follow from their factors alone."""

    frames_apart: bool = True
    """Whether each frame follows from its own factors and noise alone, however many there are beside it."""

    @property
    def shared_noise(self) -> bool:
        """Whether noise that is drawn is one frame's, the same for all frames of a clip."""
        return self.recipe.sampling.shared_noise

    @abstractmethod
    def _encode(self, x: Tensor, lengths: Tensor | None) -> Factors:
        """Return the factors of checked clips."""

    @abstractmethod
    def _like(self) -> Tensor:
        """Return a tensor on the device and of the type that clips are to be in."""

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

    @abstractmethod
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
        """Make clips with these factors.

        Shapes: noise unit Gaussian like the clips, or None to draw it from ``seed`` (clip i from seed + i, or one seed
        a clip); lengths (B,) or None -> clips (B, V, ...), frames beyond their length 0. Where a system draws nothing,
        noise, steps and seed change nothing.
        Raises: InputError for factors, steps or noise that do not fit.
        """

    @abstractmethod
    def invert(
        self, x: Any, f: Factors, steps: int | None = None, *, lengths: Any = None, progress: Progress = iter
    ) -> Tensor:
        """Return the start noise that leads to these clips (stochastic encoding), of unit variance.

        Shapes: like x; lengths (B,) or None, frames beyond them come back 0. A system whose clips follow from their
        factors alone has none: zeros.
        Raises: InputError for steps that do not fit, or x and f of different clips.
        """

    def decode(self, f: Factors, noise: Any = None, steps: int | None = None, seed: Seed = 0, **how: Any) -> Tensor:
        """Make clips with these factors: ``sample`` by another name, for systems that do not sample."""
        return self.sample(f, noise, steps, seed, **how)

    def sample_static(self, count: int, seed: Seed = 0) -> Tensor:
        """Return new static factors (N, S), one from each seed.

        Raises: InputError where the system has no prior over them.
        """
        raise self.refusal("sample_static")

    def sample_dynamic(self, count: int, frames: int, seed: Seed = 0) -> Tensor:
        """Return new dynamic factors (N, V, D), one from each seed.

        Raises: InputError where the system has no prior over them.
        """
        raise self.refusal("sample_dynamic")

    def report(self) -> dict[str, Any]:
        """Return how it runs."""
        like = self._like()
        return {"device": str(like.device), "precision": str(like.dtype).removeprefix("torch."), "route": "eager"}

    def refusal(self, task: str) -> InputError:
        """Return the error that says why the system cannot do a task, and which system that is."""
        why = self.cannot.get(task, "it has none")
        return InputError(f"{self.recipe.system}: cannot {task.replace('_', ' ')}: {why}")

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
            if x_static.shape[1] != x_dynamic.shape[1] and (noise == "static" or not self.recipe.shared_static):
                raise InputError(
                    f"swap: got donors of {x_static.shape[1]} and {x_dynamic.shape[1]} frames, expected as many "
                    "frames when the start noise or a per-frame static factor comes from the static donor"
                )
            lengths_static = check.lengths(lengths_static, x_static, name="lengths_static")
            lengths_dynamic = check.lengths(lengths_dynamic, x_dynamic, name="lengths_dynamic")
            if noise == "static" or not self.recipe.shared_static:
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
        recipe, clips = self.recipe, self.recipe.clips
        if not isinstance(f, Factors):
            raise InputError(f"factors: got {type(f).__name__}, expected Factors, as encode returns them")
        if (f.static.shape[-1], f.dynamic.shape[-1]) != (recipe.static, recipe.dynamic):
            raise InputError(
                f"factors: got widths S {f.static.shape[-1]} and D {f.dynamic.shape[-1]}, "
                f"expected S {recipe.static} and D {recipe.dynamic}"
            )
        frame = (clips.channels,)
        if recipe.video:
            assert clips.size is not None
            frame = (clips.channels, clips.size, clips.size)  # type: ignore[assignment]
        return (f.batch, f.frames, *frame)


def blank(x: Tensor, lengths: Tensor | None) -> Tensor:
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
