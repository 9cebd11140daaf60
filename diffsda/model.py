"""DiffSDA as one object: encode, denoise, loss, sample, invert, reconstruct, swap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from diffsda import check
from diffsda.denoiser import Denoiser
from diffsda.diffusing import Diffusing
from diffsda.disentangler import Progress, Seed, StartNoise
from diffsda.edm.draws import Draws, draw
from diffsda.edm.loss import draw_sigma
from diffsda.edm.precondition import Precondition
from diffsda.edm.sampler import heun
from diffsda.edm.schedule import Plan
from diffsda.encoder import SequenceEncoder
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.firststage.whiten import Whitening
from diffsda.kernels import edm_loss, precondition
from diffsda.nn.recurrent import real_rows, valid
from diffsda.recipe import Recipe
from diffsda.terms import Terms
from diffsda.trainable import Trainable

__all__ = ["DiffSDA", "Progress", "Seed", "StartNoise"]


class DiffSDA(Diffusing, Trainable):
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

    def forward(self, x: Any, *draws: Any, **options: Any) -> Tensor:
        """Compute the training loss, so that data-parallel wrappers see one entry.

        Shapes: draws are sigma and noise as in ``loss``, whose options these are.
        """
        return self.loss(x, *draws, **options)

    def training_draws(self, shape: Sequence[int], seed: int, device: torch.device) -> Draws:
        """Draw noise levels and noise for a step, ``recipe.optim.draws`` a clip."""
        return draw(self.recipe.noise, self.recipe.optim.draws, shape, seed, device)

    def terms(
        self, x: Any, lengths: Any = None, mask: Any = None, *, generator: torch.Generator | None = None
    ) -> Terms:
        """Return the training loss, a single term.

        Raises: InputError as ``loss``.
        """
        loss = self.loss(x, mask=mask, lengths=lengths, generator=generator)
        return Terms({"denoising": loss}, {"denoising": 1.0})

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

    def _like(self) -> Tensor:
        return self.encoder.to_dynamic.weight

    def _edm(self) -> Precondition:
        return self.denoiser.precondition

    def _encode(self, x: Tensor, lengths: Tensor | None) -> Factors:
        return self.encoder(x, lengths)

    def _follow(
        self, x: Tensor, a: Tensor, plan: Plan, fresh: Callable[[], Tensor] | None, progress: Progress, frames: int
    ) -> Tensor:
        return heun(self.denoiser.evaluate(plan.levels, a), x, plan, fresh=fresh, progress=progress)

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
