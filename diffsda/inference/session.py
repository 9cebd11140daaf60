"""A session: a model's weights prepared for inference, and its verbs run on them in tiles."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from diffsda.diffusing import Diffusing
from diffsda.disentangler import Progress
from diffsda.edm.precondition import Precondition
from diffsda.edm.sampler import Evaluate, heun
from diffsda.edm.schedule import Plan, Step
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.inference.execution import Execution
from diffsda.inference.form import Form
from diffsda.inference.graph import Captured, Place
from diffsda.inference.networks import PreparedDenoiser, PreparedEncoder
from diffsda.inference.tiles import Tiles, over, padded
from diffsda.kernels.backend import backend
from diffsda.model import DiffSDA

CLIPS = 64
"""Clips encoded at once eagerly: recurrent steps are short, and take longer for many clips than for one by little."""
KEPT = 8
"""Graphs, and plans' noise rows, kept: those used last."""


class Session(Diffusing):
    """A snapshot of a model for inference: the same verbs, run as an ``Execution`` says.

    Networks are rewritten and cast once; later changes of the model's weights do not reach them. Requests of any
    size are cut into tiles; with graphs or compilation a tile's tail is padded, so that few sizes come up, and the
    first request of a size makes its graph. Where memory runs out, tiles become smaller and the work goes on.
    Noise added on the way (S_churn > 0) is drawn for the whole request beforehand, as much again as the clips a step.
    Precision: clips, factors, the solver's state and results have the model's type, networks the execution's.
    Source: DiffSDA Algorithms 1 and 2; differs from the model's results by the order of sums and the precision.
    Raises: InputError for an execution that the device or the model cannot have.
    """

    def __init__(self, model: DiffSDA, execution: Execution | None = None) -> None:
        if not isinstance(model, DiffSDA):
            raise InputError(f"session: got {type(model).__name__}, expected a model: diffsda.load(path) reads one")
        if execution is not None and not isinstance(execution, Execution):
            raise InputError(f"execution: got {type(execution).__name__}, expected diffsda.Execution(precision=...)")
        self.recipe, self.whitening = model.recipe, model.whitening
        self.provenance = dict(model.provenance)
        self._template = model._like().detach().new_empty(0)
        self._precondition = model.denoiser.precondition
        if self._template.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"session: got a model in {self._template.dtype}, expected one in float32 (or float64); lower types "
                "are the session's to choose: Execution(precision=...)"
            )
        self.execution = (execution or Execution()).resolve(self._template.device, model.recipe)
        if self._template.dtype == torch.float64 and self.execution.precision != "float32":
            raise InputError(f"precision: got {self.execution.precision} for a float64 model, expected float32 or auto")
        form = Form.of(self.execution, self._template)
        with torch.no_grad():
            self._denoiser = PreparedDenoiser(model.denoiser, form)
            rows = self.execution.tile if self.execution.route == "eager" else None
            self._encoder = PreparedEncoder(model.encoder, model.recipe, form, rows)
        self._dtype = form.dtype
        if self.execution.route == "compile":
            self._denoiser.network = torch.compile(self._denoiser.network, dynamic=False)
            self._encoder.twin.frame.compile(dynamic=False)
        assert self.execution.tile is not None
        fixed = self.execution.route != "eager"
        self._tiles = Tiles(self.execution.tile, fixed=fixed)
        self._clip_tiles: dict[int, Tiles] = {}
        self._graphs: OrderedDict[Any, Captured] = OrderedDict()
        self._noises: OrderedDict[tuple[float, ...], Tensor] = OrderedDict()
        self._place: Place | None = None

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self._template.device

    @torch.no_grad()
    def evaluate(self, levels: Sequence[float], a: Tensor) -> Evaluate:
        """Return the sampler's callable on the prepared networks, as ``Denoiser.evaluate`` does on the model's.

        Shapes: a (N, D + S); the callable takes rows (N, ...) scaled by c_in and the index of a level -> F like them.
        """
        inner = self._denoiser.evaluator(self._noise_rows(tuple(levels)), a)

        @torch.no_grad()
        def call(scaled: Tensor, level: int) -> Tensor:
            with self._settings():
                return inner(scaled.to(self._dtype), level)

        return call

    def report(self) -> dict[str, Any]:
        """Return how the session runs: its execution, the tiles in use after any shrinking, the graphs kept."""
        return {
            "device": str(self.device),
            "precision": self.execution.precision,
            "layout": self.execution.layout,
            "route": self.execution.route,
            "tile": self._tiles.largest,
            "graphs": len(self._graphs),
        }

    def _like(self) -> Tensor:
        return self._template

    def _edm(self) -> Precondition:
        return self._precondition

    def _encode(self, x: Tensor, lengths: Tensor | None) -> Factors:
        frames = x.shape[1]
        if frames not in self._clip_tiles:
            fixed, clips = self._tiles.fixed, max(1, self._tiles.largest // frames)
            # Eagerly only the frame network is cut finer than this.
            self._clip_tiles[frames] = Tiles(clips if fixed else max(clips, CLIPS), fixed=fixed)
        tiles = self._clip_tiles[frames]

        def run(clips: slice, size: int) -> tuple[Tensor, ...]:
            given = [x[clips]] if lengths is None else [x[clips], lengths[clips]]
            static, dynamic = self._call(
                ("encode", size, frames, lengths is None),
                lambda x, n=None: self._encoder(x, n),
                [padded(t, size) if tiles.fixed else t for t in given],
            )
            count = given[0].shape[0]
            return self._own(static[:count]), self._own(dynamic[:count])

        with torch.no_grad():
            return Factors(*over(tiles, x.shape[0], run, forget=self._forget))

    def _follow(
        self, x: Tensor, a: Tensor, plan: Plan, fresh: Callable[[], Tensor] | None, progress: Progress, frames: int
    ) -> Tensor:
        noise = self._noise_rows(plan.levels)
        churned = sum(step.churn > 0 for step in plan.steps)
        if churned and fresh is None:
            raise ValueError("the plan adds noise (S_churn > 0), expected a source of it in `fresh`")
        draws = [fresh() for _ in range(churned)] if fresh is not None else []
        unit = frames if self._tiles.fixed else 1
        tiled = x.shape[0] > self._tiles.size(x.shape[0], unit)
        share = _Share(progress, plan) if tiled or self._graphed else None

        def solve(x: Tensor, a: Tensor, noise: Tensor, *draws: Tensor) -> Tensor:
            left = iter(draws)
            watch = iter if share is not None else progress
            evaluate = self._denoiser.evaluator(noise, a)
            return heun(evaluate, x, plan, fresh=lambda: next(left), progress=watch, dtype=self._dtype)

        def run(rows: slice, size: int) -> tuple[Tensor, ...]:
            given = [x[rows], a[rows]], [d[rows] for d in draws]
            cut = [[padded(t, size) if self._tiles.fixed else t for t in part] for part in given]
            y = self._call(("solve", size, plan), solve, [*cut[0], noise, *cut[1]])
            return (self._own(y[: given[0][0].shape[0]]),)

        with torch.no_grad():
            done = share.advance if share is not None else lambda share: None
            return over(self._tiles, x.shape[0], run, unit=unit, forget=self._forget, done=done)[0]

    @property
    def _graphed(self) -> bool:
        return self.device.type == "cuda" and self.execution.route != "eager"

    def _noise_rows(self, levels: tuple[float, ...]) -> Tensor:
        if levels not in self._noises:
            with torch.no_grad():
                self._noises[levels] = self._denoiser.noise_rows(levels)
            while len(self._noises) > KEPT:
                self._noises.popitem(last=False)
        self._noises.move_to_end(levels)
        return self._noises[levels]

    def _call(self, key: Any, function: Callable[..., Any], inputs: list[Tensor]) -> Any:
        """Run a function of tensors: as it is, or from a graph that is made on first use."""
        with self._settings():
            if not self._graphed:
                return function(*inputs)
            if key not in self._graphs:
                while len(self._graphs) >= KEPT:
                    self._graphs.popitem(last=False)
                self._place = self._place or Place(self.device)
                self._graphs[key] = Captured(function, inputs, self._place)
            self._graphs.move_to_end(key)
            return self._graphs[key](*inputs)

    def _own(self, result: Tensor) -> Tensor:
        """Return a result in memory of its own: the next replay of a graph writes where this one did."""
        return result.clone() if self._graphed else result

    def _forget(self) -> None:
        """Let go of graphs and cached memory."""
        self._graphs.clear()
        self._place = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
        """Choose convolutions by trial, since shapes repeat; keep float32 exact; compile what compilers can read."""
        compiled = self.execution.route == "compile"
        with contextlib.ExitStack() as stack:
            if self.device.type == "cuda":
                stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False))
            if compiled:
                stack.enter_context(backend("torch"))
            yield


class _Share:
    """Progress of work that is not done step by step: a share of the steps with every tile."""

    def __init__(self, progress: Progress, plan: Plan) -> None:
        self.steps: Iterator[Step] = iter(progress(plan.steps))
        self.total, self.seen = len(plan.steps), 0

    def advance(self, share: float) -> None:
        """Let steps go by up to a share of all; with the last one the watcher comes to its end."""
        while self.seen < round(share * self.total):
            next(self.steps, None)
            self.seen += 1
        if share >= 1:
            for _ in self.steps:
                pass
