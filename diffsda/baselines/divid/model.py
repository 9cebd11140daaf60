"""DiViD as one system: encode, decode by diffusion from shared noise, its loss, inversion."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from diffsda import check
from diffsda.baselines.divid.diffusion import inversion_plan, noised, run, sampling_plan, signal
from diffsda.baselines.divid.encoder import DiViDEncoder
from diffsda.baselines.divid.loss import absolute_error, orthogonality
from diffsda.baselines.divid.network import DiViDMLP, DiViDUNet
from diffsda.baselines.divid.settings import DiViDSettings
from diffsda.baselines.missing import without_missing
from diffsda.baselines.system import System, Terms
from diffsda.disentangler import Progress, Seed, StartNoise
from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.nn.recurrent import real_rows, valid
from diffsda.prior.diffusion import Move

Start = Literal["drawn", "inverted"]


class DiViD(System):
    """A diffusion autoencoder of clips: a code of the first frame, and codes of how the others differ from it.

    Clips are (B, V, C, H, W) with values from -1 to 1, or vectors (B, V, F).
    Source: DiViD (arXiv 2507.13934); no code is public. What it leaves open is chosen by setting, see docs/divid.md.
    """

    name: ClassVar[str] = "divid"
    policy: ClassVar[StartNoise] = "shared"
    masks: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True
    cannot: ClassVar[dict[str, str]] = {
        "sample_static": "its paper gives it no prior over static codes",
        "sample_dynamic": "its paper gives it no prior over dynamic codes",
    }

    def __init__(self, settings: DiViDSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or DiViDSettings()
        self.encoder = DiViDEncoder(settings)
        self.network: nn.Module = DiViDUNet(settings) if settings.kind == "video" else DiViDMLP(settings)
        self.level = signal(settings)
        self.provenance: dict[str, Any] = {}

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Factors:
        """Return static codes (B, S) of the first frames and dynamic codes (B, V, D), 0 on padded frames.

        Raises: InputError for clips or lengths it cannot read.
        """
        x = self._clips(x)
        f: Factors = self.encoder(x, check.lengths(lengths, x))
        return f

    def predict(self, z: Tensor, t: Tensor, f: Factors) -> Tensor:
        """Return the noise predicted in clips.

        Shapes: z (B, V, ...), t (B,) diffusion steps, f of the same clips -> like z.
        """
        frames = z.shape[1]
        static = f.static[:, None].expand(-1, frames, -1).flatten(0, 1)
        y: Tensor = self.network(z.flatten(0, 1), t.repeat_interleave(frames), static, f.dynamic.flatten(0, 1))
        return y.unflatten(0, z.shape[:2])

    def loss(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        mask: Tensor | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Terms:
        """Return the training loss by its terms: error of the predicted noise, and orthogonality where it weighs.

        Shapes: t (B,) diffusion steps, one a clip; noise (B, 1, ...) for all frames of a clip alike, or like x. Left
        out they are drawn, t first. A mask like x marks missing entries with 1: they are read as 0 and have no error.
        Source: DiViD Eq. 3 to 5.
        Raises: InputError for clips or lengths it cannot read.
        """
        x, missing = without_missing(self._clips(x), mask)
        settings, real = self.settings, valid(check.lengths(lengths, x), x.shape[1])
        where = x.device if generator is None else generator.device
        if t is None:
            t = torch.randint(settings.steps, (len(x),), generator=generator, device=where).to(x.device)
        if noise is None:
            shape = (len(x), 1 if settings.shared_noise else x.shape[1], *x.shape[2:])
            noise = torch.randn(shape, generator=generator, device=where, dtype=x.dtype).to(x.device)
        f = self.encode(x, lengths)
        given = self.predict(noised(x, t, noise, self.level), t, f)
        terms, weights = {"noise": absolute_error(given, noise, real, missing)}, {"noise": 1.0}
        if settings.orthogonality_applies:
            terms["orthogonality"] = orthogonality(f, cosine=settings.orthogonality == "cosine")
            weights["orthogonality"] = settings.weight_orthogonality
        return Terms(terms, weights)

    @torch.no_grad()
    def decode(
        self,
        f: Factors,
        noise: Tensor | None = None,
        steps: int | None = None,
        seed: Seed = 0,
        *,
        lengths: Tensor | None = None,
        progress: Progress = iter,
    ) -> Tensor:
        """Make clips with these factors by DDIM.

        Shapes: noise like the clips, or (B, 1, ...) for all frames of a clip alike; drawn where left out, for clip i
        from seed + i or from a seed of its own, one frame's for all where ``shared_noise`` says so; lengths (B,) or
        None -> (B, V, ...), frames beyond their length 0. ``progress`` is handed the steps and gives them back.
        Raises: InputError for factors, noise, lengths or steps that do not fit.
        """
        settings, shape = self.settings, self._shape(f)
        if noise is None:
            noise = SampleNoise(seed, shape, like=f.dynamic, shared=settings.shared_noise)()
        if noise.shape not in (shape, (shape[0], 1, *shape[2:])):
            raise InputError(f"noise: got {tuple(noise.shape)}, expected {shape} or one frame's for all")
        plan = sampling_plan(settings, self.level, steps)
        return self._follow(f, noise.expand(shape), plan, lengths, progress, bound=settings.clean_bound)

    @torch.no_grad()
    def invert(
        self,
        x: Tensor,
        f: Factors,
        steps: int | None = None,
        *,
        lengths: Tensor | None = None,
        progress: Progress = iter,
    ) -> Tensor:
        """Return the noise that leads to these clips, by DDIM turned around: like x, not shared over frames.

        Frames beyond their length come back 0.
        Raises: InputError for clips, factors, lengths or steps that do not fit.
        """
        x = self._clips(x)
        if tuple(x.shape) != self._shape(f):
            raise InputError(f"factors: got those of clips {self._shape(f)}, expected of {tuple(x.shape)} like x")
        return self._follow(f, x, inversion_plan(self.settings, self.level, steps), lengths, progress)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, lengths: Tensor | None = None, *, start: Start = "drawn", **how: Any) -> Tensor:
        """Take clips apart and put them together again, from drawn noise or from their own, by inversion."""
        with self.evaluating():
            f = self.encode(x, lengths)
            return self.decode(f, lengths=lengths, **self._start(x, f, lengths, start, how))

    @torch.no_grad()
    def swap(
        self,
        x_static: Tensor,
        x_dynamic: Tensor,
        *,
        lengths_static: Tensor | None = None,
        lengths_dynamic: Tensor | None = None,
        start: Start = "drawn",
        **how: Any,
    ) -> Tensor:
        """Return clips with the static code of some and the dynamic codes of others, as long as these.

        ``start='inverted'`` begins from the noise of the clips that lend their dynamics.
        Raises: InputError for batches of different sizes.
        """
        if len(x_static) != len(x_dynamic):
            raise InputError(
                f"swap: got {len(x_static)} static and {len(x_dynamic)} dynamic donors, expected as many of each"
            )
        with self.evaluating():
            giver, taker = self.encode(x_static, lengths_static), self.encode(x_dynamic, lengths_dynamic)
            how = self._start(x_dynamic, taker, lengths_dynamic, start, how)
            return self.decode(giver.swap(dynamic_from=taker), lengths=lengths_dynamic, **how)

    def _start(
        self, x: Tensor, f: Factors, lengths: Tensor | None, start: Start, how: dict[str, Any]
    ) -> dict[str, Any]:
        if start not in ("drawn", "inverted"):
            raise InputError(f"start: got {start!r}, expected 'drawn' or 'inverted'")
        if start == "drawn":
            return how
        if how.get("noise") is not None:
            raise InputError("start: got 'inverted' and noise beside it, expected one of the two")
        asked = {k: how[k] for k in ("steps", "progress") if k in how}
        return how | {"noise": self.invert(x, f, lengths=lengths, **asked)}

    def _follow(
        self,
        f: Factors,
        z: Tensor,
        moves: tuple[Move, ...],
        lengths: Tensor | None,
        progress: Progress,
        bound: float | None = None,
    ) -> Tensor:
        """Follow a plan from z (B, V, ...); padded frames come back 0, on the CPU nothing is computed for them."""
        lengths = check.lengths(lengths, z)
        rows, real = real_rows(lengths, f.frames), valid(lengths, f.frames)
        flat = z.flatten(0, 1)
        static, dynamic = f.static[:, None].expand(-1, f.frames, -1).flatten(0, 1), f.dynamic.flatten(0, 1)
        if rows is not None:
            static, dynamic = static[rows], dynamic[rows]

        def predict(z: Tensor, t: int) -> Tensor:
            y: Tensor = self.network(z, torch.full((len(z),), t, device=z.device), static, dynamic)
            return y

        with self.evaluating():
            y = run(predict, flat if rows is None else flat[rows], moves, self.level, bound, progress)
        if rows is not None:
            y = torch.zeros_like(flat).index_copy(0, rows, y)
        y = y.unflatten(0, z.shape[:2])
        return y if real is None else y * real.reshape(*real.shape, *(1,) * (y.ndim - 2))

    def _frame(self) -> tuple[int, ...]:
        s = self.settings
        return (s.channels, s.size, s.size) if s.kind == "video" else (s.channels,)

    def _shape(self, f: Factors) -> tuple[int, ...]:
        s = self.settings
        if not f.shared or (f.static.shape[-1], f.dynamic.shape[-1]) != (s.static, s.dynamic):
            raise InputError(
                f"factors: got static {tuple(f.static.shape)} and dynamic {tuple(f.dynamic.shape)}, "
                f"expected (B, {s.static}) and (B, V, {s.dynamic})"
            )
        return (f.batch, f.frames, *self._frame())

    def _clips(self, x: Tensor) -> Tensor:
        frame = self._frame()
        if tuple(x.shape[2:]) != frame or not x.is_floating_point():
            wanted = ", ".join(map(str, frame))
            raise InputError(f"x: got {tuple(x.shape)} of {x.dtype}, expected (B, V, {wanted}) of floating point")
        return x
