"""DiffSDA as one object: encode, denoise, loss, sample, invert, reconstruct, swap."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diffsda import check
from diffsda.denoiser import Denoiser
from diffsda.edm.loss import draw_sigma
from diffsda.edm.noise import SampleNoise
from diffsda.edm.sampler import heun
from diffsda.edm.schedule import Plan, Step, inversion_plan, sampling_plan
from diffsda.encoder import SequenceEncoder
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.firststage.whiten import Whitening
from diffsda.kernels import edm_loss, precondition
from diffsda.nn.recurrent import real_rows, valid
from diffsda.recipe import Recipe, Sampling

Seed = int | Sequence[int]
Progress = Callable[[Iterable[Step]], Iterable[Step]]
StartNoise = Literal["dynamic", "static", "fresh", "shared"]


class DiffSDA(nn.Module):
    """A diffusion sequential disentanglement autoencoder.

    Clips are (B, V, C, H, W) for video and (B, V, F) for audio and series, whitened to standard deviation 0.5
    where the model was trained so (``whitening`` maps raw clips there and back).
    Source: DiffSDA (Berman et al.), sections 3 and 4.
    """

    def __init__(self, recipe: Recipe, whitening: Whitening | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.whitening = whitening
        self.encoder = SequenceEncoder(recipe)
        self.denoiser = Denoiser(recipe)
        self.provenance: dict[str, Any] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the training loss, so that data-parallel wrappers see one entry."""
        return self.loss(*args, **kwargs)

    def encode(self, x: Any, lengths: Any = None) -> Factors:
        """Take clips apart into static and dynamic factors; dropout follows the module's mode.

        Shapes: x (B, V, C, H, W) or (B, V, F); lengths (B,) from 2 to V, padding beyond them is ignored ->
        static (B, S) (or (B, V, S) when not shared), dynamic (B, V, D).
        Source: DiffSDA section 4.2.
        Raises: InputError for clips or lengths the model cannot read.
        """
        x = self._clips(x)
        return self.encoder(x, check.lengths(lengths, x))

    def denoise(self, x: Any, sigma: float | Tensor, f: Factors) -> Tensor:
        """Return D(x; sigma, f), the denoised clips.

        Shapes: x like the clips; sigma a number, or (B,) or (B, V) -> like x.
        Source: DiffSDA section 3.
        Raises: InputError if x, sigma and f are not of the same clips, or sigma is not above 0.
        """
        x = self._clips(x)
        self._same_clips(x, f)
        a = self._rows(f)
        y = self.denoiser(x.flatten(0, 1), self._sigma(sigma, x).flatten(), a)
        return y.unflatten(0, x.shape[:2])

    def loss(
        self,
        x: Any,
        sigma: Tensor | None = None,
        noise: Tensor | None = None,
        mask: Any = None,
        lengths: Any = None,
        *,
        generator: torch.Generator | None = None,
        count: float | Tensor | None = None,
    ) -> Tensor:
        """Return the training loss, a scalar: mean of lambda(sigma) (D(x + sigma noise; sigma, f) - x)^2.

        Shapes: sigma (B, V), or (B, 1) for one level a clip, and unit noise like x. A leading K*B draws K
        noises a clip, draw-major (clip b's draw k is row k*B + b); x is encoded once for all of them. Left out,
        both are drawn: sigma first, then the noise, ``recipe.optim.draws`` a clip. mask is like x, 1 = missing;
        lengths (B,) as in ``encode``.
        ``count`` replaces the number of elements the error is averaged over.
        Source: DiffSDA Eq. 7, EDM Eq. 8. Differs: the authors encode K identical copies of a series.
        Raises: InputError for shapes that do not belong together.
        """
        x = self._clips(x)
        lengths = check.lengths(lengths, x)
        mask = check.mask(mask, x)
        sigma, noise = self._draws(x, sigma, noise, generator)
        draws = sigma.shape[0] // x.shape[0]
        a = self._rows(self.encoder(x, lengths))
        real = valid(lengths, x.shape[1])
        clean, noise = _repeat(x, draws).flatten(0, 1), noise.flatten(0, 1)
        mask = None if mask is None else _repeat(mask, draws).flatten(0, 1)
        real = None if real is None else _repeat(real, draws).flatten()
        # One noise level a sequence is embedded once a sequence, not once a frame.
        per_row = sigma.expand(-1, x.shape[1]).flatten()
        levels, level = per_row, None
        if sigma.shape[1] == 1:
            levels = sigma[:, 0]
            level = torch.arange(sigma.shape[0], device=x.device).repeat_interleave(x.shape[1])
        rows = real_rows(lengths, x.shape[1])
        if rows is not None:
            if count is None:
                count = draws * rows.numel() * clean[0].numel()
            a = a[rows]
            rows = (torch.arange(draws)[:, None] * (x.shape[0] * x.shape[1]) + rows).flatten()
            clean, noise, per_row, real = clean[rows], noise[rows], per_row[rows], None
            mask = None if mask is None else mask[rows]
            levels, level = (per_row, None) if level is None else (levels, level[rows])
        sigma_data, device = self.denoiser.precondition.sigma_data, x.device.type
        # Under autocast the network's input goes straight into the type the first layer would cast it to.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        scaled = precondition(clean, noise, per_row, sigma_data=sigma_data, dtype=dtype)
        f = self.denoiser.predict(scaled, levels, a, level)
        return edm_loss(f, clean, noise, per_row, sigma_data=sigma_data, mask=mask, real=real, count=count)

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
        like = self._parameter()
        source = SampleNoise(seed, shape, like=like, shared=sampling.shared_noise)
        start = source() if noise is None else self._clips(noise, "noise")
        if tuple(start.shape) != tuple(shape):
            raise InputError(f"noise: got {tuple(start.shape)}, expected {tuple(shape)} for these factors")
        plan = sampling_plan(sampling, self.denoiser.precondition)
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
        plan = inversion_plan(sampling, self.denoiser.precondition)
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
            f = self.encoder(x, lengths)
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
            if x_static.shape[1] != x_dynamic.shape[1] and (noise == "static" or not self.encoder.shared):
                raise InputError(
                    f"swap: got donors of {x_static.shape[1]} and {x_dynamic.shape[1]} frames, expected as many "
                    "frames when the start noise or a per-frame static factor comes from the static donor"
                )
            lengths_static = check.lengths(lengths_static, x_static, name="lengths_static")
            lengths_dynamic = check.lengths(lengths_dynamic, x_dynamic, name="lengths_dynamic")
            if noise == "static" or not self.encoder.shared:
                _same_lengths(lengths_static, lengths_dynamic, x_dynamic.shape[1])
            giver, taker = self.encoder(x_static, lengths_static), self.encoder(x_dynamic, lengths_dynamic)
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
            evaluate = self.denoiser.evaluate(plan.levels, chosen(a))
            y = heun(evaluate, chosen(flat), plan, fresh=noise, progress=progress)
        if rows is not None:
            y = torch.zeros_like(flat).index_copy(0, rows, y)
        return _blank(y.unflatten(0, frames), lengths)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch dropout off for a while: ``with model.evaluating(): ...``."""
        was = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was)

    def _parameter(self) -> Tensor:
        return self.encoder.to_dynamic.weight

    def _clips(self, x: Any, name: str = "x") -> Tensor:
        like = self._parameter()
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

    def _sigma(self, sigma: float | Tensor, x: Tensor) -> Tensor:
        value = torch.as_tensor(sigma, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
        if value.device.type == "cpu" and not bool((value > 0).all()):
            raise InputError("sigma: got a noise level that is not above 0, expected levels > 0")
        value = value.to(x.device)
        if value.ndim == 1:
            value = value[:, None]
        while value.ndim > 2 and value.shape[-1] == 1:
            value = value[..., 0]
        try:
            return value.expand(x.shape[:2])
        except RuntimeError:
            raise InputError(
                f"sigma: got shape {tuple(value.shape)}, expected a number, ({x.shape[0]},) or {tuple(x.shape[:2])}"
            ) from None

    def _draws(
        self, x: Tensor, sigma: Tensor | None, noise: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return sigma (K*B, V) and noise (K*B, V, ...), drawing what is not given."""
        batch, frames = x.shape[:2]
        given = sigma if sigma is not None else noise
        rows = self.recipe.optim.draws * batch if given is None else torch.as_tensor(given).shape[0]
        if rows == 0 or rows % batch:
            raise InputError(f"loss: got noise for {rows} rows, expected a multiple of the {batch} clips")
        if sigma is None:
            sigma = draw_sigma(rows, frames, self.recipe.noise, device=x.device, generator=generator)
        elif torch.as_tensor(sigma).shape != (rows, 1):
            sigma = self._sigma(sigma, x.new_empty(rows, frames, 0)).contiguous()
        if noise is None:
            source = generator.device if generator is not None else x.device
            noise = torch.randn(rows, *x.shape[1:], generator=generator, device=source, dtype=x.dtype)
        noise = torch.as_tensor(noise).to(x.device, x.dtype)
        if tuple(noise.shape) != (rows, *x.shape[1:]):
            raise InputError(f"noise: got {tuple(noise.shape)}, expected {(rows, *x.shape[1:])}")
        return sigma.to(x.device, x.dtype), noise


def _repeat(x: Tensor, draws: int) -> Tensor:
    """Repeat a batch draw after draw."""
    return x if draws == 1 else x.repeat(draws, *(1,) * (x.ndim - 1))


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
