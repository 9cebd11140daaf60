"""Clips of more frames than they have: the same static factor, dynamics that are carried on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from diffsda.data.check import Array
from diffsda.disentangler import Disentangler
from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.tasks.batches import Track, lengths_of, seeds, silent, slices, solver_steps
from diffsda.tasks.encode import encode
from diffsda.tasks.generate import frame_shape
from diffsda.tasks.own_prior import FactorPrior
from diffsda.tasks.timeline import evenly, linear, nearest
from diffsda.tasks.traverse import starts

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

How = Literal["hold", "loop", "pingpong", "resample", "prior"]
Noise = Literal["auto", "own", "repeat", "fresh", "shared"]
TILE = 512
"""Frames of a clip decoded at a time."""


@dataclass(frozen=True)
class Windows:
    """Dynamics drawn from a prior, to go on with where a clip ends."""

    prior: FactorPrior
    overlap: int | None = None
    """Frames over which a window is blended into what was before; None takes a quarter of a window, or half the
    shortest clip if that is less."""
    steps: int | None = None
    """Steps of the prior's sampler; None takes its own number."""

    def blend(self, shortest: int) -> int:
        """Return the frames of overlap for clips of which the shortest has so many frames.

        Raises: InputError for more than half a window, or than the shortest clip has.
        """
        window = self.prior.sizes.frames
        if self.overlap is None:
            return min(window // 4, shortest // 2)
        most = min(window // 2, shortest)
        if not 0 <= self.overlap <= most:
            raise InputError(
                f"overlap: got {self.overlap} frames, expected 0 to {most}: half a window of the prior's {window} "
                f"frames, and no more than the shortest clip's {shortest}"
            )
        return self.overlap

    def join(self, d: list[Tensor], frames: int, overlap: int, own: list[int]) -> Tensor:
        """Carry on dynamics to so many frames.

        Shapes: d, one clip's (n, D) each -> (B, frames, D). Window w of a clip depends on the clip's seed and w alone.
        """
        new = self.prior.sizes.frames - overlap
        counts = [-(-(frames - len(one)) // new) for one in d]
        drawn = [_other(seed, w) for seed, count in zip(own, counts, strict=True) for w in range(count)]
        windows = iter(self.prior.sample(len(drawn), drawn, steps=self.steps).dynamic.cpu()) if drawn else iter(())
        share = torch.linspace(0, 1, overlap + 2)[1:-1, None]
        joined = []
        for one, count in zip(d, counts, strict=True):
            for _ in range(count):
                window, end = next(windows), len(one) - overlap
                one = torch.cat([one[:end], torch.lerp(one[end:], window[:overlap], share), window[overlap:]])
            joined.append(one[:frames])
        return torch.stack(joined)


@torch.no_grad()
def lengthen(
    model: Disentangler,
    clips: Clips,
    frames: int,
    *,
    how: How = "pingpong",
    noise: Noise = "auto",
    windows: Windows | None = None,
    tile: int = TILE,
    steps: int | None = None,
    seed: int = 0,
    batch: int = 64,
    track: Track = silent,
) -> Array:
    """Make clips of ``frames`` frames of whitened clips: their static factors, their dynamics carried on.

    ``how``: ``hold`` stays at the last frame's d; ``loop`` begins again, ``pingpong`` goes back and forth;
    ``resample`` stretches d evenly, so that everything is slower; ``prior`` goes on with ``windows`` the prior draws.
    Limits: the prior knows windows of one length, drawn with a static factor of their own, which is put aside for the
    clip's (as in the unconditional swap). So a window knows neither this clip nor the window before, and where two are
    blended d is their average, with less motion than either.

    ``noise``: the clip's own stochastic code for its own frames and drawn for new ones (``own``); the code of the
    frame that is nearest to where a frame's dynamics come from (``repeat``); drawn for all (``fresh``), or one frame's
    drawn for all (``shared``). ``auto`` is repeat to resample, since no frame is the clip's own then, and else own.
    With own and repeated codes the frames that a clip keeps (all of its own; to overlap, those before) are those of its
    reconstruction, to the bit.

    Shapes: clips.x (N, V, ...), lengths (N,) -> (N, frames, ...), no padding. Clip i draws from seed + i, whatever the
    batch. ``tile`` frames are decoded at a time: each stands for itself once its factors are known. Where it does not
    (``frames_apart``), all are decoded at once, and those a clip keeps are near its reconstruction, not equal.
    Source: DiffSDA appendix H.4 (dynamics of the prior beside a clip's own static factor).
    Raises: InputError for a static factor that is not shared, fewer frames than a clip has, an unknown word or one that
    does not go with ``how``, or windows that are missing, needless or do not fit.
    """
    lengths = np.full(len(clips), clips.frames) if clips.lengths is None else np.asarray(clips.lengths)
    if noise == "auto":
        noise = "repeat" if how == "resample" else "own"
    _check(model, lengths, frames, how, noise, windows, tile)
    overlap = 0 if windows is None else windows.blend(int(lengths.min()))
    coded = noise in ("own", "repeat")
    if coded:
        f, codes = starts(model, clips, steps=steps, batch=batch, track=track)
    else:
        f, codes = encode(model, clips, batch=batch), torch.empty(0)
    # What is the clip's own, factors and noise: it is sampled as a reconstruction is.
    kept = np.where(lengths == frames, lengths, 0 if how == "resample" else lengths - overlap) * int(coded)
    if not model.frames_apart:
        kept, tile = 0 * kept, frames
    parts = list(slices(len(clips), batch))
    spans = [list(_spans(int(kept[r].min()), frames, tile)) for r in parts]
    whole = [bool(kept[r].any()) for r in parts]
    progress = track((sum(map(len, spans)) + sum(whole)) * solver_steps(model, steps))
    shared = noise == "shared" or model.shared_noise
    device, made = model._like().device, np.empty((len(clips), frames, *frame_shape(model)), np.float32)
    with model.evaluating():
        for r, some, again in zip(parts, spans, whole, strict=True):
            own, rows, owned = seeds(seed, r), range(r.start, r.stop), f[r].to(device)
            start = SampleNoise(own, (len(own), *made.shape[1:]), like=torch.empty(0), shared=shared)()
            if windows is not None:
                d = windows.join([f.dynamic[i, : lengths[i]] for i in rows], frames, overlap, own)
            else:
                moments = [_moments(int(lengths[i]), frames, how) for i in rows]
                d = torch.stack([linear(f.dynamic[i, : lengths[i]], at) for i, at in zip(rows, moments, strict=True)])
                if noise == "repeat":
                    start = torch.stack([codes[i, nearest(at)] for i, at in zip(rows, moments, strict=True)])
            if noise == "own":
                for row, i in enumerate(rows):
                    start[row, : lengths[i]] = codes[i, : lengths[i]]
            for a, b in some:
                given = Factors(owned.static, d[:, a:b].to(device))
                x = model.sample(given, start[:, a:b], steps, [_other(s, a) for s in own], progress=progress)
                made[r, a:b] = x.cpu().numpy()
            if again:
                x = model.sample(owned, codes[r], steps, own, lengths=lengths_of(clips, r), progress=progress)
                for row, i in enumerate(rows):
                    made[i, : kept[i]] = x[row, : kept[i]].cpu().numpy()
    return made


def _moments(own: int, frames: int, how: How) -> Array:
    """Return where in a clip of so many frames each new frame's dynamics come from."""
    v = np.arange(frames)
    if how == "resample":
        return evenly(own, frames)
    if how == "hold":
        return np.minimum(v, own - 1).astype(np.float64)
    if how == "loop":
        return (v % own).astype(np.float64)
    turn = v % (2 * own - 2)
    return np.minimum(turn, 2 * own - 2 - turn).astype(np.float64)


def _spans(first: int, frames: int, tile: int) -> Iterator[tuple[int, int]]:
    """Yield parts of the frames from ``first`` on; a last one that is alone comes with the one before it."""
    while first < frames:
        end = min(first + tile, frames)
        yield min(first, end - 2), end
        first = end


def _other(seed: int, number: int) -> int:
    """Return another seed that goes with this one and a number."""
    return int(np.random.SeedSequence((3, seed, number)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _check(
    model: Disentangler, lengths: Array, frames: int, how: How, noise: Noise, windows: Windows | None, tile: int
) -> None:
    recipe = model.recipe
    for name, value, kind in (("how", how, How), ("noise", noise, Noise)):
        if value not in get_args(kind):
            raise InputError(f"{name}: got {value!r}, expected one of {', '.join(get_args(kind))}")
    if not recipe.shared_static:
        raise InputError(
            "lengthen: got a model with a static factor a frame (encoder.shared_static false), expected one a clip: "
            "new frames would have none"
        )
    if not isinstance(frames, int) or isinstance(frames, bool) or frames < lengths.max():
        raise InputError(f"frames: got {frames!r}, expected at least {lengths.max()}, which the longest clip has")
    if (noise, how) in (("own", "resample"), ("repeat", "prior")):
        why = "no frame is the clip's own" if how == "resample" else "no frame of the clip's goes with the prior's"
        raise InputError(f"noise: got {noise} for {how}, expected another: {why}")
    if not isinstance(tile, int) or tile < 2:
        raise InputError(f"tile: got {tile!r}, expected at least 2 frames")
    if (windows is not None) != (how == "prior"):
        raise InputError(
            f"how: got {how} {'with' if windows else 'without'} a prior, expected prior and one, or neither"
        )
    if windows is not None and (windows.prior.sizes.static, windows.prior.sizes.dynamic) != (
        recipe.static,
        recipe.dynamic,
    ):
        sizes = windows.prior.sizes
        raise InputError(
            f"prior: got one of S {sizes.static} and D {sizes.dynamic}, expected S {recipe.static} and "
            f"D {recipe.dynamic} like the model's"
        )
