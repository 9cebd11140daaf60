"""New clips: both factors from the prior, or one of them in the place of a real clip's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from diffsda.disentangler import Disentangler
from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.prior.recipe import Rule
from diffsda.tasks.batches import Track, lengths_of, seeds, silent, slices, solver_steps
from diffsda.tasks.own_prior import FactorPrior

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

Part = Literal["static", "dynamic"]
Noise = Literal["recipe", "fresh", "shared"]
SwapNoise = Literal["auto", "own", "fresh", "shared"]


def generate(
    model: Disentangler,
    f: Factors,
    *,
    noise: Noise = "recipe",
    steps: int | None = None,
    seed: int = 0,
    batch: int = 64,
    track: Track = silent,
) -> np.ndarray:
    """Sample clips with these factors, as ``LatentPrior.sample`` draws them.

    ``noise``: ``fresh`` start noise, ``shared``: one frame's, repeated over the frames of a clip, or what the model
    says of these two (``recipe``).
    Shapes: f of N clips -> (N, V, ...). Clip i draws from seed + i, whatever the batch.
    Raises: InputError for an unknown ``noise``, and as ``Disentangler.sample``.
    """
    _choose("noise", noise, ("recipe", "fresh", "shared"))
    shared = model.shared_noise if noise == "recipe" else noise == "shared"
    parts = list(slices(len(f), batch))
    progress = track(len(parts) * solver_steps(model, steps))
    out = []
    for r in parts:
        given, own = f[r].to(model._like().device), seeds(seed, r)
        shape = (len(own), f.frames, *frame_shape(model))
        start = SampleNoise(own, shape, like=model._like(), shared=shared)()
        out.append(model.sample(given, start, steps, own, progress=progress).cpu().numpy())
    return np.concatenate(out)


def frame_shape(model: Disentangler) -> tuple[int, ...]:
    """Return the shape of one frame: (C, H, W) or (F,)."""
    clips = model.recipe.clips
    if not model.recipe.video:
        return (clips.channels,)
    assert clips.size is not None
    return (clips.channels, clips.size, clips.size)


def unconditional_swap(
    model: Disentangler,
    prior: FactorPrior,
    clips: Clips,
    replace: Part,
    *,
    noise: SwapNoise = "auto",
    steps: int | None = None,
    prior_steps: int | None = None,
    rule: Rule | None = None,
    seed: int = 0,
    prior_seed: int | None = None,
    batch: int = 64,
    track: Track = silent,
) -> np.ndarray:
    """Give whitened clips a static factor, or dynamic factors, from the prior; the other factor stays theirs.

    ``noise`` is where a swap starts: from the clip's ``own`` stochastic code, or from noise that is drawn (``fresh``,
    ``shared`` over frames). ``auto`` is the paper's rule, the code of the clip that lends the dynamics: own where s is
    replaced, fresh where d is, since then no clip lends them; systems whose own swaps draw noise (``policy``) draw it.
    Shapes: clips.x (N, V, ...) -> same. Clip i draws from seed + i, whatever the batch; sample i of the prior is that
    of ``prior.sample(N, seed)``, or of ``prior_seed`` where that is given.
    Source: DiffSDA appendix H.4.
    Raises: InputError for an unknown word, or dynamic factors of another number of frames than the clips'.
    """
    _choose("swap", replace, ("static", "dynamic"))
    _choose("noise", noise, ("auto", "own", "fresh", "shared"))
    if noise == "auto":
        drawn_as = "shared" if model.policy == "shared" else "fresh"
        noise = "own" if replace == "static" and model.policy == "dynamic" else drawn_as  # type: ignore[assignment]
    if replace == "dynamic" and (reason := other_frames(prior, clips)):
        raise InputError(reason)
    parts = list(slices(len(clips), batch))
    progress = track(len(parts) * solver_steps(model, steps) * (2 if noise == "own" else 1))
    out = []
    with model.evaluating():
        for r in parts:
            x, lengths, own = clips.x[r], lengths_of(clips, r), seeds(seed, r)
            theirs = model.encode(x, lengths).detach()
            lots = own if prior_seed is None else seeds(prior_seed, r)
            drawn = prior.sample(len(own), lots, steps=prior_steps, rule=rule).to(theirs.dynamic)
            mixed = drawn.swap(theirs) if replace == "static" else theirs.swap(drawn)
            if noise == "own":
                start = model.invert(x, theirs, steps, lengths=lengths, progress=progress)
            else:
                start = SampleNoise(own, x.shape, like=model._like(), shared=noise == "shared")()
            out.append(model.sample(mixed, start, steps, own, lengths=lengths, progress=progress))
    return np.concatenate([y.cpu().numpy() for y in out])


def other_frames(prior: FactorPrior, clips: Clips) -> str:
    """Say why clips cannot get dynamic factors from a prior, or nothing: theirs are of another number of frames."""
    if clips.lengths is None and clips.frames == prior.sizes.frames:
        return ""
    what = "of varied lengths" if clips.lengths is not None else f"of {clips.frames} frames"
    return (
        f"swap: got clips {clips.name} {what}, expected {prior.sizes.frames} frames like the prior's dynamic "
        "factors; say --frames to cut them"
    )


def _choose(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name}: got {value!r}, expected one of {', '.join(known)}")
