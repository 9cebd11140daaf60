"""A session over an exported folder: the same verbs, the networks run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.disentangler import Disentangler, Progress
from diffsda.edm.precondition import Precondition, c_noise
from diffsda.edm.sampler import heun
from diffsda.edm.schedule import Plan
from diffsda.errors import InputError
from diffsda.export import manifest
from diffsda.export.onnxruntime import CPU, CUDA, NotHere, OpenGraph, open_graph
from diffsda.factors import Factors
from diffsda.inference.tiles import Tiles, over
from diffsda.nn.modulation import fold

FRAMES = {"unet": 64, "mlp": 2048}
"""Frames that the network works on at once."""


class OnnxSession(Disentangler):
    """The model of an exported folder, run by ONNX Runtime; solver, noise and checks are the project's own.

    One file serves any number of clips and frames: requests are shared out into tiles of at most ``tile`` frames.
    ``provider``: cpu or cuda. ``threads``: of the CPU, torch's number where left open.
    Precision: float32 in and out; networks in the folder's.
    Raises: InputError for a folder that is no export, a provider this runtime lacks, or types it has no kernels for;
    CheckpointError for files that are not the folder's; MissingPackage without the runtime.
    """

    def __init__(
        self, folder: str | Path, *, provider: str = "cpu", tile: int | None = None, threads: int | None = None
    ) -> None:
        if provider not in ("cpu", "cuda"):
            raise InputError(f"provider: got {provider!r}, expected cpu or cuda")
        if tile is not None and tile < 1:
            raise InputError(f"tile: got {tile}, expected a number of frames of at least 1")
        folder = Path(folder)
        self.folder, self.manifest = folder, manifest.read(folder)
        self.recipe, self.whitening = self.manifest.recipe, self.manifest.whitening
        self.provenance = dict(self.manifest.provenance)
        self.provider = provider
        self._precondition = Precondition(self.recipe.noise.sigma_data)
        self._tiles = Tiles(tile or FRAMES[self.recipe.backbone.kind], fixed=False)
        self._open: dict[str, OpenGraph] = {}
        self._options: dict[str, Any] = {"provider": CUDA if provider == "cuda" else CPU, "threads": threads}
        for name in ("encoder", "network", "noise_table", "factor_table"):
            self._graph(name)  # What cannot run here is told before any work.
        if provider == "cuda" and not torch.cuda.is_available():
            raise InputError("provider: got cuda, expected a torch that has it too: the solver runs there")
        self._template = torch.empty(0, device=provider)

    def denoise(self, x: Tensor, sigma: Tensor, f: Factors) -> Tensor:
        """Return D(x; sigma, f) from the graph that others use with solvers of their own.

        Shapes: x (B, V, ...), sigma (B,) -> like x.
        """
        x = self._clips(x)
        self._same_clips(x, f)
        width = self.recipe.encoder.dynamic
        a = self._rows(f)
        rows = sigma.to(x).repeat_interleave(x.shape[1])
        given = {"x": x.flatten(0, 1), "sigma": rows, "static": a[:, width:], "dynamic": a[:, :width]}
        return self._graph("denoise")(given, ["denoised"])[0].reshape(x.shape)

    def report(self) -> dict[str, Any]:
        """Return how the session runs."""
        return {
            "device": self.provider,
            "precision": self.manifest.precision,
            "route": "onnxruntime",
            "tile": self._tiles.largest,
        }

    def _graph(self, name: str) -> OpenGraph:
        if name not in self._open:
            path = self.manifest.path(self.folder, name)
            try:
                self._open[name] = open_graph(path, **self._options)
            except NotHere as reason:
                raise InputError(
                    f"{path}: ONNX Runtime has no {self.manifest.precision} kernels for it on {self.provider} "
                    f"({reason}); expected an export in float32 or fp16"
                ) from None
        return self._open[name]

    def _like(self) -> Tensor:
        return self._template

    def _edm(self) -> Precondition:
        return self._precondition

    def _encode(self, x: Tensor, lengths: Tensor | None) -> Factors:
        if lengths is not None and bool((lengths < x.shape[1]).any()):
            return self._encode_ragged(x, lengths)
        clips = Tiles(max(1, self._tiles.largest // x.shape[1]), fixed=False)

        def run(rows: slice, size: int) -> tuple[Tensor, ...]:
            return tuple(self._graph("encoder")({"x": x[rows]}, ["static", "dynamic"]))

        return Factors(*over(clips, x.shape[0], run))

    def _encode_ragged(self, x: Tensor, lengths: Tensor) -> Factors:
        """Encode clips of each length together, cut to it; padded frames get factors 0."""
        encoder, shape = self.recipe.encoder, x.shape[:2]
        static = (
            x.new_zeros(shape[:1] if encoder.shared_static else shape)
            .unsqueeze(-1)
            .repeat_interleave(encoder.static, -1)
        )
        dynamic = x.new_zeros(*shape, encoder.dynamic)
        for length in lengths.unique().tolist():
            chosen = (lengths == length).nonzero()[:, 0]
            found = self._encode(x[chosen, :length], None)
            dynamic[chosen, :length] = found.dynamic
            if encoder.shared_static:
                static[chosen] = found.static
            else:
                static[chosen, :length] = found.static
        return Factors(static, dynamic)

    def _follow(
        self, x: Tensor, a: Tensor, plan: Plan, fresh: Callable[[], Tensor] | None, progress: Progress, frames: int
    ) -> Tensor:
        sigma = torch.tensor(plan.levels, dtype=torch.float64)
        noise = self._graph("noise_table")({"c_noise": c_noise(sigma).to(x)}, ["noise"])[0]
        width = self.recipe.encoder.dynamic
        factor = self._graph("factor_table")({"static": a[:, width:], "dynamic": a[:, :width]}, ["factor"])[0]
        network = self._graph("network")

        def evaluate(scaled: Tensor, level: int) -> Tensor:
            def run(rows: slice, size: int) -> tuple[Tensor, ...]:
                scale, shift = fold(noise[level], factor[rows])
                return tuple(network({"x": scaled[rows], "scale": scale, "shift": shift}, ["f"]))

            return over(self._tiles, x.shape[0], run)[0]

        with torch.no_grad():
            return heun(evaluate, x, plan, fresh=fresh, progress=progress)
