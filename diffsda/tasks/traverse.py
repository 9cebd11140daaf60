"""Walk along the principal components of a factor, from a real clip on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from diffsda.disentangler import Disentangler
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.tasks.batches import Track, lengths_of, silent, slices, solver_steps

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

Factor = Literal["static", "dynamic"]
Array = np.ndarray[Any, np.dtype[np.float64]]
POOL = 2**15
"""Samples of the prior that components are found in (the paper's b)."""
_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Components:
    """The principal components of a pool of factors, each dimension brought to mean 0 and deviation 1 first.

    Shapes: mean, std (h,), of the pool; directions (K, h) of length 1, those that explain most first, each with its
    largest number positive; explained (K,) shares of the variance. h is S, or D for dynamic factors.
    """

    factor: Factor
    mean: Array
    std: Array
    directions: Array
    explained: Array
    pool: int
    """Vectors they were found in."""

    def move(self, values: Tensor, component: int, alpha: float) -> Tensor:
        """Return values (..., h) moved along a component: (((s - mean) / std) + alpha * v * sqrt(h)) * std + mean.

        Source: DiffSDA Eq. 6. Written as s + alpha * sqrt(h) * v * std, which is the same, and s itself at alpha 0.
        """
        h = len(self.mean)
        step = alpha * np.sqrt(h) * self.directions[component] * self.std
        return values + torch.as_tensor(step).to(values)

    def edit(self, f: Factors, component: int, alpha: float) -> Factors:
        """Return factors with theirs of the two moved along a component; dynamic ones alike in every frame."""
        if self.factor == "static":
            return Factors(self.move(f.static, component, alpha), f.dynamic)
        return Factors(f.static, self.move(f.dynamic, component, alpha))


def components(f: Factors, factor: Factor, count: int, *, lengths: np.ndarray | None = None) -> Components:
    """Find the first ``count`` principal components of the static factors, or of the dynamic factors of all frames.

    lengths (B,): frames beyond them are left out. A dimension that never varies stays as it is.
    Source: DiffSDA section 4.3. Differs: for dynamic factors, of which it gives no formula, the vectors are single
    frames' d, so that components do not depend on the number of frames.
    Raises: InputError for an unknown factor, more components than dimensions, or fewer vectors than dimensions.
    """
    pool = _pool(f, factor, lengths)
    rows, h = pool.shape
    if not 1 <= count <= h:
        raise InputError(f"components: got {count}, expected 1 to {h}, the width of the {factor} factor")
    if rows <= h:
        raise InputError(
            f"components: got {rows} {factor} factors of width {h}, expected more than {h} to find components in"
        )
    mean, cov = _moments(pool)
    std = np.sqrt(np.diag(cov))
    varies = std > 1e-12 * max(float(std.max()), 1e-300)
    scale = np.where(varies, std, 1.0)
    correlation = np.where(varies[:, None] & varies, cov / np.outer(scale, scale), 0.0)
    values, vectors = np.linalg.eigh(correlation)
    order = np.argsort(values)[::-1][:count]
    directions = vectors[:, order].T
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    explained = np.clip(values[order], 0, None) / max(float(varies.sum()), 1.0)
    return Components(factor, mean, np.where(varies, std, 0.0), directions * np.sign(largest), explained, rows)


@torch.no_grad()
def starts(
    model: Disentangler, clips: Clips, *, steps: int | None = None, batch: int = 64, track: Track = silent
) -> tuple[Factors, Tensor]:
    """Return the factors of whitened clips and their own stochastic codes (N, V, ...), both on the CPU."""
    parts = list(slices(len(clips), batch))
    progress = track(len(parts) * solver_steps(model, steps))
    factors, codes = [], []
    with model.evaluating():
        for r in parts:
            lengths = lengths_of(clips, r)
            f = model.encode(clips.x[r], lengths).detach()
            codes.append(model.invert(clips.x[r], f, steps, lengths=lengths, progress=progress).cpu())
            factors.append(f.to("cpu"))
    return Factors(torch.cat([f.static for f in factors]), torch.cat([f.dynamic for f in factors])), torch.cat(codes)


@torch.no_grad()
def traverse(
    model: Disentangler,
    f: Factors,
    start: Tensor,
    found: Components,
    alphas: Sequence[float],
    *,
    lengths: np.ndarray | None = None,
    steps: int | None = None,
    seed: int = 0,
    batch: int = 64,
    track: Track = silent,
) -> np.ndarray:
    """Move a factor of clips along each component by each alpha; all else stays as it is, the start noise too.

    From the codes of real clips (see ``starts``) alpha 0 gives exactly their reconstruction.
    Shapes: f of N clips, start (N, V, ...), lengths (N,) -> (N, K, A, V, ...) for K components and A alphas.
    Source: DiffSDA section 4.3.
    Raises: InputError without alphas, for one that is not finite, and as ``Disentangler.sample``.
    """
    if not alphas or not np.isfinite(alphas).all():
        raise InputError(f"alphas: got {list(alphas)}, expected finite numbers, at least one")
    clips, count = len(f), len(found.directions)
    still = [a for a, alpha in enumerate(alphas) if alpha == 0]
    edits = [(k, a) for k in range(count) for a, alpha in enumerate(alphas) if alpha != 0]
    whole = list(slices(clips, batch)) if still else []
    moved = list(slices(clips * len(edits), batch))
    progress = track((len(whole) + len(moved)) * solver_steps(model, steps))
    f, device = f.to("cpu"), model._like().device
    made = np.empty((clips, count, len(alphas), *start.shape[1:]), np.float32)

    def sample(rows: np.ndarray, given: Factors) -> np.ndarray:
        x = model.sample(
            given.to(device),
            start[torch.from_numpy(rows)],
            steps,
            [seed + int(row) for row in rows],
            lengths=None if lengths is None else lengths[rows],
            progress=progress,
        )
        return x.cpu().numpy()

    with model.evaluating():
        # Where nothing moves all components agree; the same batches as a reconstruction's give the same digits.
        for r in whole:
            rows = np.arange(r.start, r.stop)
            made[r, :, still] = sample(rows, f[r])[:, None, None]
        for r in moved:
            rows, which = np.divmod(np.arange(r.start, r.stop), len(edits))
            ways = [found.edit(f[int(row)], edits[e][0], alphas[edits[e][1]]) for row, e in zip(rows, which)]
            given = Factors(torch.cat([w.static for w in ways]), torch.cat([w.dynamic for w in ways]))
            k, a = np.array(edits)[which].T
            made[rows, k, a] = sample(rows, given)
    return made


def _moments(pool: np.ndarray) -> tuple[Array, Array]:
    """Return mean (h,) and covariance (h, h) of rows, in float64, without a copy of all of them."""
    rows, h = pool.shape
    mean, cov = np.zeros(h), np.zeros((h, h))
    for start in range(0, rows, _ROWS):
        mean += pool[start : start + _ROWS].sum(0, dtype=np.float64) / rows
    for start in range(0, rows, _ROWS):
        part = pool[start : start + _ROWS] - mean
        cov += part.T @ part / rows
    return mean, cov


def _pool(f: Factors, factor: Factor, lengths: np.ndarray | None) -> np.ndarray:
    """Return the vectors of a factor, one a row."""
    if factor not in ("static", "dynamic"):
        raise InputError(f"factor: got {factor!r}, expected static or dynamic")
    values = (f.static if factor == "static" else f.dynamic).detach().cpu()
    if values.ndim == 2:
        return values.numpy()
    if lengths is None:
        return values.flatten(0, 1).numpy()
    return values.numpy()[np.arange(values.shape[1])[None] < np.asarray(lengths)[:, None]]
