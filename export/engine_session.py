"""The model of an exported folder, run by TensorRT engines; a whole sample as one CUDA graph.

Experimental until measured on a GPU: no engine has run yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.disentangler import Progress
from diffsda.edm.sampler import heun
from diffsda.edm.schedule import Plan
from diffsda.errors import InputError
from diffsda.export.engine import frames_of
from diffsda.export.engine_name import Tile
from diffsda.export.engine_runner import EngineRunner, open_engine
from diffsda.export.onnxruntime import OpenGraph, open_graph
from diffsda.export.session import OUTPUTS, ExportedSession
from diffsda.export.tensorrt import Library
from diffsda.factors import Factors
from diffsda.inference.graph import Captured, Place
from diffsda.inference.tiles import Tiles, over, padded

TABLES = ("noise_table", "factor_table")
"""Graphs that ONNX Runtime runs on the CPU: two matrix products a sample."""


class EngineSession(ExportedSession):
    """The model of an exported folder, run by TensorRT engines of one tile.

    ``clips`` of ``frames`` (the recipe's, where left open) at once; smaller requests are padded. ``graph``: capture the
    whole loop of a sample in a CUDA graph, once a plan. The encoder takes clips of exactly ``frames``.
    Experimental until measured on a GPU.
    Raises: InputError for a folder that is no export, or has no engine that fits this GPU and TensorRT;
    MissingPackage without TensorRT or, for the tables, ONNX Runtime.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        clips: int = 16,
        frames: int | None = None,
        engines: Path | None = None,
        graph: bool = True,
        device: str | torch.device = "cuda",
        library: Library | None = None,
    ) -> None:
        folder = Path(folder)
        self.tile = Tile(clips, frames or frames_of(folder))
        super().__init__(folder)
        self._tiles = Tiles(clips * self.tile.frames, fixed=True)
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise InputError("device: got cuda, which is not here, expected a CUDA device: engines run on nothing else")
        self._template = torch.empty(0, device=device)
        self._engines: dict[str, EngineRunner] = {}
        self._where: dict[str, Any] = {"engines": engines, "device": self._template.device, "library": library}
        self._tables: dict[str, OpenGraph] = {}
        self._place: Place | None = None
        self._graphs: dict[Plan, Captured] = {}
        self._graphed = graph and self._template.is_cuda
        for name in ("encoder", "network"):
            self._engine(name)  # What cannot run here is told before any work.

    def report(self) -> dict[str, Any]:
        """Return how the session runs."""
        return {
            "device": str(self._template.device),
            "precision": self.manifest.precision,
            "route": "tensorrt+graph" if self._graphed else "tensorrt",
            "tile": self._tiles.largest,
        }

    def _engine(self, name: str) -> EngineRunner:
        if name not in self._engines:
            self._engines[name] = open_engine(self.folder, name, self.tile, **self._where)
        return self._engines[name]

    def _run(self, graph: str, given: dict[str, Tensor]) -> list[Tensor]:
        if graph in TABLES:
            if graph not in self._tables:
                self._tables[graph] = open_graph(self.manifest.path(self.folder, graph))
            found = self._tables[graph]({name: t.cpu() for name, t in given.items()}, OUTPUTS[graph])
            return [t.to(self._template.device) for t in found]
        made = self._engine(graph)(**{name: t.float() for name, t in given.items()})
        return [made[name] for name in OUTPUTS[graph]]

    def _tiles_of(self, graph: str) -> Tiles:
        return Tiles(self.tile.clips, fixed=True) if graph == "prior" else self._tiles

    def _encode(self, x: Tensor, lengths: Tensor | None) -> Factors:
        wanted = self.tile.frames
        if x.shape[1] != wanted or (lengths is not None and bool((lengths < wanted).any())):
            raise InputError(
                f"x: got clips of other lengths, expected {wanted} frames, as this engine of the encoder has"
            )
        return super()._encode(x, None)

    def _follow(
        self, x: Tensor, a: Tensor, plan: Plan, fresh: Callable[[], Tensor] | None, progress: Progress, frames: int
    ) -> Tensor:
        if not self._graphed or any(step.churn for step in plan.steps):
            return super()._follow(x, a, plan, fresh, progress, frames)
        self._place = self._place or Place(x.device)
        noise, factor = self._rows_of_tables(plan.levels, a)

        def solve(x: Tensor, noise: Tensor, factor: Tensor) -> Tensor:
            return heun(self._on_tables(noise, factor), x, plan)

        def run(rows: slice, size: int) -> tuple[Tensor, ...]:
            given = [padded(x[rows], size), noise, padded(factor[rows], size)]
            if plan not in self._graphs:
                assert self._place is not None
                self._graphs[plan] = Captured(solve, given, self._place)
            return (self._graphs[plan](*given)[: rows.stop - rows.start].clone(),)

        with torch.no_grad():
            y = over(self._tiles, x.shape[0], run, unit=self._whole)[0]
        for _ in progress(plan.steps):
            pass
        return y
