"""Walk from one clip to another: factors between theirs, start noise between theirs."""

from __future__ import annotations

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
from diffsda.tasks.timeline import evenly, linear, nearest
from diffsda.tasks.traverse import starts

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

Factor = Literal["static", "dynamic", "both"]
Way = Literal["linear", "slerp"]
Noise = Literal["auto", "mixed", "a", "b", "fresh"]


@dataclass(frozen=True, eq=False)
class Walk:
    """Clips on the way from each A to its B.

    Shapes: x (N, K + 2, V, ...), the first of each row at A, the last at B; lengths (N, K + 2) of real frames, padding
    beyond them 0; shares (K + 2,) from 0 to 1.
    """

    x: Array
    lengths: Array
    shares: Array


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return vectors on the arc from a to b, their lengths in between too; the straight line where there is no angle.

    Shapes: a, b (..., h) -> (..., h).
    Source: Shoemake 1985 (spherical linear interpolation). Differs: the lengths of the two may differ.
    Raises: InputError for vectors of one number, or opposite ones, between which no arc is the shortest.
    """
    if a.shape[-1] < 2:
        raise InputError("slerp: got vectors of one number, expected two at least: one has no direction to turn in")
    size_a, size_b = a.double().norm(dim=-1, keepdim=True), b.double().norm(dim=-1, keepdim=True)
    straight = torch.lerp(a.double(), b.double(), share)
    turns = (size_a > 0) & (size_b > 0)
    unit_a, unit_b = (v.double() / size.clamp_min(1e-300) for v, size in ((a, size_a), (b, size_b)))
    # From half the chord, which is exact for small angles where the cosine is not.
    angle = 2 * torch.atan2((unit_a - unit_b).norm(dim=-1, keepdim=True), (unit_a + unit_b).norm(dim=-1, keepdim=True))
    if bool((turns & (angle > np.pi - 1e-6)).any()):
        raise InputError("slerp: got opposite vectors, expected any others: no arc between them is the shortest")
    sine = torch.sin(angle)
    turns &= angle > 1e-6
    sine = torch.where(turns, sine, 1.0)
    direction = (torch.sin((1 - share) * angle) * unit_a + torch.sin(share * angle) * unit_b) / sine
    return torch.where(turns, direction * torch.lerp(size_a, size_b, share), straight).to(a)


@torch.no_grad()
def interpolate(
    model: Disentangler,
    a: Clips,
    b: Clips,
    *,
    between: int = 7,
    factor: Factor = "both",
    path: Way = "linear",
    noise: Noise = "auto",
    steps: int | None = None,
    seed: int = 0,
    batch: int = 64,
    track: Track = silent,
) -> Walk:
    """Walk from clip i of ``a`` to clip i of ``b``, both whitened and as many, in ``between`` clips between the two.

    ``factor`` says what moves: the static factor, the dynamic ones, or both; the rest stays A's. A clip is as long as
    the one whose dynamics it has; while these move the length does too, and the dynamics of both are stretched to it,
    linearly in time. ``path`` is straight (``linear``), or along the arc (``slerp``: of s, and of each frame's d),
    which keeps the length of a vector: for factors that are all about as long, whose direction says what they mean.

    ``noise`` is A's stochastic code (``a``), B's (``b``), one draw a pair for its whole walk (``fresh``), or along the
    arc from A's code to B's (``mixed``). ``auto`` keeps to the paper's rule, the code of the clip that lends the
    dynamics: A's where only the static factor moves, mixed where the dynamics do. A code of another length is stretched
    by repeating frames or leaving them out, never by blending them, which would make it something else than noise.

    The ends are exact, to the bit. With ``auto`` the first clip is A's reconstruction; the last is B's where both
    factors move, A with B's dynamics or static factor (``swap``, start noise of the dynamics donor) where one does.
    Pair i draws from seed + i, whatever the batch.
    Raises: InputError for an unknown word, fewer than 0 clips between, other numbers of clips, vectors that slerp
    cannot turn, and as ``Disentangler.sample``.
    """
    _check(a, b, between, factor, path, noise)
    if noise == "auto":
        noise = "a" if factor == "static" else "mixed"
    solving = {"steps": steps, "batch": batch, "track": track}
    pair = (
        _Side.of(model, a, noise in ("a", "mixed"), **solving),  # type: ignore[arg-type]
        _Side.of(model, b, noise in ("b", "mixed"), **solving),  # type: ignore[arg-type]
    )
    longest = a.frames if factor == "static" else max(a.frames, b.frames)
    shape = (len(a), longest, *frame_shape(model))
    shared, own = model.shared_noise, seeds(seed, slice(0, len(a)))
    drawn = SampleNoise(own, shape, like=torch.empty(0), shared=shared)() if noise == "fresh" else None
    shares = np.linspace(0.0, 1.0, between + 2)
    walk = _Walking(pair, drawn, factor, path, noise)
    made = np.zeros((len(a), between + 2, *shape[1:]), np.float32)
    lengths = np.array([[walk.length(i, t) for t in shares] for i in range(len(a))])
    ends, middle = list(slices(len(a), batch)), list(slices(len(a) * between, batch))
    progress = track((2 * len(ends) + len(middle)) * solver_steps(model, steps))

    def sample(rows: Array, at: Array, frames: int, n: Array | None) -> None:
        places = [walk.place(int(i), float(shares[k]), frames) for i, k in zip(rows, at, strict=True)]
        f = Factors(*(torch.cat([getattr(f, name) for f, _ in places]) for name in ("static", "dynamic")))
        start, given = torch.cat([z for _, z in places]), [seed + int(row) for row in rows]
        x = model.sample(f.to(model._like().device), start, steps, given, lengths=n, progress=progress)
        made[rows, at, :frames] = x.cpu().numpy()

    with model.evaluating():
        # The ends in the batches and with the padding of a reconstruction: the same digits come out.
        for end, timing in ((0, a), (between + 1, a if factor == "static" else b)):
            for r in ends:
                rows = np.arange(r.start, r.stop)
                sample(rows, np.full(len(rows), end), timing.frames, lengths_of(timing, r))
        for r in middle:
            rows, at = np.divmod(np.arange(r.start, r.stop), between)
            n = lengths[rows, at + 1]
            sample(rows, at + 1, int(n.max()), n)
    return Walk(made, lengths, shares)


@dataclass(frozen=True, eq=False)
class _Side:
    """One end of every walk: factors, stochastic codes where they are asked for, and lengths (N,)."""

    factors: Factors
    codes: Tensor | None
    lengths: Array

    @classmethod
    def of(cls, model: Disentangler, clips: Clips, code: bool, *, steps: int | None, batch: int, track: Track) -> _Side:
        lengths = np.full(len(clips), clips.frames) if clips.lengths is None else np.asarray(clips.lengths)
        if code:
            return cls(*starts(model, clips, steps=steps, batch=batch, track=track), lengths)
        return cls(encode(model, clips, batch=batch), None, lengths)

    def dynamic(self, i: int, count: int) -> Tensor:
        """Return the dynamic factors of a clip over so many frames (count, D)."""
        n = int(self.lengths[i])
        return linear(self.factors.dynamic[i, :n], evenly(n, count))

    def static(self, i: int, count: int) -> Tensor:
        """Return the static factor of a clip (S,), or (count, S) where it is one a frame."""
        if self.factors.shared:
            return self.factors.static[i]
        n = int(self.lengths[i])
        return linear(self.factors.static[i, :n], evenly(n, count))

    def code(self, i: int, count: int) -> Tensor:
        """Return the stochastic code of a clip over so many frames, each that of the nearest one (count, ...)."""
        assert self.codes is not None
        return self.codes[i, torch.from_numpy(nearest(evenly(int(self.lengths[i]), count)))]


@dataclass(frozen=True, eq=False)
class _Walking:
    """Where a walk is at a share of its way."""

    sides: tuple[_Side, _Side]
    drawn: Tensor | None
    factor: Factor
    path: Way
    noise: Noise

    def length(self, i: int, share: float) -> int:
        """Return how many frames the clip has there."""
        first, last = (int(side.lengths[i]) for side in self.sides)
        return first if self.factor == "static" else round(first + share * (last - first))

    def place(self, i: int, share: float, frames: int) -> tuple[Factors, Tensor]:
        """Return the factors and the start noise there, one clip padded with 0 to so many frames."""
        n = self.length(i, share)
        moved = ("static", "dynamic") if self.factor == "both" else (self.factor,)
        parts = []
        for name in ("static", "dynamic"):
            value: Tensor = getattr(self.sides[0], name)(i, n)
            if name in moved:
                value = _between(value, getattr(self.sides[1], name)(i, n), share, self.path)
            parts.append(value[None] if value.ndim == 1 else _padded(value, frames))
        if self.drawn is not None:
            start = self.drawn[i, :n]
        elif self.noise == "mixed":
            a, b = (side.code(i, n) for side in self.sides)
            start = _between(a.flatten(), b.flatten(), share, "slerp").reshape(a.shape)
        else:
            start = self.sides[0 if self.noise == "a" else 1].code(i, n)
        return Factors(*parts), _padded(start, frames)


def _between(a: Tensor, b: Tensor, share: float, path: Way) -> Tensor:
    if share in (0.0, 1.0):
        return b if share else a
    return torch.lerp(a, b, share) if path == "linear" else slerp(a, b, share)


def _padded(z: Tensor, frames: int) -> Tensor:
    """Return a sequence (n, ...) as a batch of one, (1, frames, ...)."""
    return torch.cat([z, z.new_zeros(frames - len(z), *z.shape[1:])])[None]


def _check(a: Clips, b: Clips, between: int, factor: str, path: str, noise: str) -> None:
    for name, value, kind in (("factor", factor, Factor), ("path", path, Way), ("noise", noise, Noise)):
        if value not in get_args(kind):
            raise InputError(f"{name}: got {value!r}, expected one of {', '.join(get_args(kind))}")
    if not isinstance(between, int) or isinstance(between, bool) or between < 0:
        raise InputError(f"between: got {between!r}, expected a whole number of clips, 0 or more")
    if len(a) != len(b):
        raise InputError(f"interpolate: got {len(a)} clips A and {len(b)} clips B, expected as many of each")
