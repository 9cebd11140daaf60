"""A model of an exported folder: the same verbs, its graphs run by whatever can."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.diffusing import Diffusing
from diffsda.disentangler import Progress
from diffsda.edm.precondition import Precondition, c_noise
from diffsda.edm.sampler import Evaluate, heun
from diffsda.edm.schedule import Plan
from diffsda.errors import InputError
from diffsda.export import manifest
from diffsda.export.onnxruntime import CPU, CUDA, NotHere, OpenGraph, open_graph
from diffsda.factors import Factors
from diffsda.inference.tiles import Tiles, over, padded
from diffsda.nn.modulation import fold

FRAMES = {"unet": 64, "mlp": 2048}
"""Frames that ONNX Runtime's network works on at once."""
OUTPUTS = {
    "encoder": ("static", "dynamic"),
    "network": ("f",),
    "noise_table": ("noise",),
    "factor_table": ("factor",),
    "denoise": ("denoised",),
    **manifest.PARTS,
}
"""Outputs of each graph, in the order they are returned in."""


class ExportedSession(Diffusing):
    """The model of an exported folder over one hook, which runs a graph; solver, noise and checks are our own.

    Precision: float32 in and out; networks in the folder's.
    """

    _tiles: Tiles

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.manifest = Path(folder), manifest.read(folder)
        self.recipe, self.whitening = self.manifest.recipe, self.manifest.whitening
        self.provenance = dict(self.manifest.provenance)
        self._precondition = Precondition(self.recipe.noise.sigma_data)
        self._template = torch.empty(0)

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Return how the session runs."""

    @abstractmethod
    def _run(self, graph: str, given: dict[str, Tensor]) -> list[Tensor]:
        """Run a graph; return its outputs in the order of ``OUTPUTS``."""

    def evaluate(self, levels: Sequence[float], a: Tensor) -> Evaluate:
        """Return the sampler's callable on the exported network, as ``Denoiser.evaluate`` does on the model's.

        Shapes: a (N, D + S); the callable takes rows (N, ...) scaled by c_in and the index of a level -> F like them.
        """
        return self._on_tables(*self._rows_of_tables(levels, a))

    def _rows_of_tables(self, levels: Sequence[float], a: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of both tables: two matrix products."""
        width = self.recipe.encoder.dynamic
        sigma = torch.tensor(tuple(levels), dtype=torch.float64)
        (noise,) = self._run("noise_table", {"c_noise": c_noise(sigma).to(a)})
        (factor,) = self._run("factor_table", {"static": a[:, width:], "dynamic": a[:, :width]})
        return noise, factor

    def _on_tables(self, noise: Tensor, factor: Tensor) -> Evaluate:
        """Return the sampler's callable for rows of both tables."""

        def network(scaled: Tensor, level: int) -> Tensor:
            def run(rows: slice, size: int) -> tuple[Tensor, ...]:
                scale, shift = fold(noise[level], factor[rows])
                given = {"x": scaled[rows].float(), "scale": scale, "shift": shift}
                return self._in_a_tile("network", given, size)

            return over(self._tiles, factor.shape[0], run, unit=self._whole)[0]

        return network

    @property
    def _whole(self) -> int:
        """Rows that tiles of one size have, or 1."""
        return self._tiles.largest if self._tiles.fixed else 1

    def denoise(self, x: Any, sigma: Any, f: Factors) -> Tensor:
        """Return D(x; sigma, f) from the graph that others use with solvers of their own.

        Shapes: x (B, V, ...), sigma (B,) -> like x.
        Raises: InputError if they are not of the same clips.
        """
        x = self._clips(x)
        self._same_clips(x, f)
        sigma = torch.as_tensor(sigma).to(x)
        if tuple(sigma.shape) != (x.shape[0],):
            raise InputError(f"sigma: got shape {tuple(sigma.shape)}, expected ({x.shape[0]},), one a clip")
        width, a, flat = self.recipe.encoder.dynamic, self._rows(f), x.flatten(0, 1)
        column = sigma.repeat_interleave(x.shape[1])

        def run(rows: slice, size: int) -> tuple[Tensor, ...]:
            given = {"x": flat[rows], "sigma": column[rows], "static": a[rows, width:], "dynamic": a[rows, :width]}
            return self._in_a_tile("denoise", given, size)

        return over(self._tiles, flat.shape[0], run, unit=self._whole)[0].reshape(x.shape)

    def part(self, graph: str, *given: Tensor) -> Tensor:
        """Run a graph that the folder holds beside the model's own: see ``manifest.PARTS`` and its ports.

        Shapes: rows (N, ...) of each input -> rows of its one output.
        Raises: InputError if the folder has no such graph.
        """
        ports = [port.name for port in self.manifest.graph(self.folder, graph).inputs]
        rows = dict(zip(ports, (t.to(self._template) for t in given), strict=True))

        def run(rows_: slice, size: int) -> tuple[Tensor, ...]:
            return self._in_a_tile(graph, {name: t[rows_] for name, t in rows.items()}, size)

        tiles = self._tiles_of(graph)
        return over(tiles, given[0].shape[0], run, unit=tiles.largest if tiles.fixed else 1)[0]

    def _tiles_of(self, graph: str) -> Tiles:
        """Return the tiles that a part's rows are cut into."""
        return self._tiles

    def _in_a_tile(self, graph: str, given: dict[str, Tensor], size: int) -> tuple[Tensor, ...]:
        """Run a graph on some rows, padded to the tile's size where tiles are of one."""
        count = next(iter(given.values())).shape[0]
        if self._tiles.fixed:
            given = {name: padded(t, size) for name, t in given.items()}
        return tuple(t[:count] for t in self._run(graph, given))

    def _like(self) -> Tensor:
        return self._template

    def _edm(self) -> Precondition:
        return self._precondition

    def _encode(self, x: Tensor, lengths: Tensor | None) -> Factors:
        if lengths is not None and bool((lengths < x.shape[1]).any()):
            return self._encode_ragged(x, lengths)
        unit = max(1, self._tiles.largest // x.shape[1])

        def run(rows: slice, size: int) -> tuple[Tensor, ...]:
            return self._in_a_tile("encoder", {"x": x[rows]}, size)

        return Factors(*over(Tiles(unit, fixed=self._tiles.fixed), x.shape[0], run, unit=unit))

    def _encode_ragged(self, x: Tensor, lengths: Tensor) -> Factors:
        """Encode clips of each length together, cut to it; padded frames get factors 0."""
        encoder, shape = self.recipe.encoder, x.shape[:2]
        static = x.new_zeros(*(shape[:1] if encoder.shared_static else shape), encoder.static)
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
        with torch.no_grad():
            return heun(self.evaluate(plan.levels, a), x, plan, fresh=fresh, progress=progress)


class OnnxSession(ExportedSession):
    """The model of an exported folder, run by ONNX Runtime.

    One file serves any number of clips and frames: requests are shared out into tiles of at most ``tile`` frames.
    ``provider``: cpu or cuda; ``number``: of the CUDA device, the current one where left open. ``threads``: of the CPU,
    torch's number where left open.
    Raises: InputError for a folder that is no export, a provider this runtime lacks, or types it has no kernels for;
    CheckpointError for files that are not the folder's; MissingPackage without the runtime.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        provider: str = "cpu",
        number: int | None = None,
        tile: int | None = None,
        threads: int | None = None,
    ) -> None:
        if provider not in ("cpu", "cuda"):
            raise InputError(f"provider: got {provider!r}, expected cpu or cuda")
        if tile is not None and tile < 1:
            raise InputError(f"tile: got {tile}, expected a number of frames of at least 1")
        super().__init__(folder)
        self._tiles = Tiles(tile or FRAMES[self.recipe.backbone.kind], fixed=False)
        self.provider = provider
        self._open: dict[str, OpenGraph] = {}
        self._options: dict[str, Any] = {"provider": CUDA if provider == "cuda" else CPU, "threads": threads}
        if provider == "cuda" and torch.cuda.is_available():
            self._options["stream"] = torch.cuda.Stream(number)  # One for all graphs: they run one after the other.
        for name in ("encoder", "network", "noise_table", "factor_table"):
            self._graph(name)  # What cannot run here is told before any work.
        if provider == "cuda" and not torch.cuda.is_available():
            raise InputError("provider: got cuda, expected a torch that has it too: the solver runs there")
        self._template = torch.empty(0, device=provider if number is None else f"{provider}:{number}")

    def report(self) -> dict[str, Any]:
        """Return how the session runs."""
        return {
            "device": self.provider,
            "precision": self.manifest.precision,
            "route": "onnxruntime",
            "tile": self._tiles.largest,
        }

    def _run(self, graph: str, given: dict[str, Tensor]) -> list[Tensor]:
        return self._graph(graph)(given, OUTPUTS[graph])

    def _tiles_of(self, graph: str) -> Tiles:
        # Frames of pixels are large, samples of a prior small; either is worked on in few pieces.
        return Tiles(4 if graph.startswith("first_stage") else 4096, fixed=False)

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
