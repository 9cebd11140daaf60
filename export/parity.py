"""How far an exported graph is from the model it came from, on inputs of sizes it was not traced with."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffsda.errors import ExportError
from diffsda.export.graphs import Graph
from diffsda.kernels.backend import backend

BOUNDS = {"float32": 1e-5, "fp16": 2e-2, "bf16": 4e-2}
"""float32: largest difference by the largest value. Lower precisions: root mean square by root mean square; bf16 has
three bits less than fp16."""
SAMPLER = 1e-4
"""The bound of the whole sampler in float32: its evaluations add up."""
Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Parity:
    """How far, how far it may be, and by what it was found."""

    error: float
    bound: float
    measure: str
    measured: str


def measure(graph: Graph, path: Path, precision: str) -> Parity:
    """Run a file and what it stands for on the same inputs.

    Where ONNX Runtime cannot be had, or cannot run the graph on this host (bf16 on a CPU), what was traced is compared
    instead, and ``measured`` says so.
    Raises: ExportError for an error over its bound.
    """
    low = precision != "float32" and graph.casts
    bound = BOUNDS[precision if graph.casts else "float32"]
    if graph.name == "sampler" and not low:
        bound = SAMPLER
    run, measured = _runner(graph, path)
    worst = 0.0
    with torch.no_grad(), backend("torch"):
        for given in _inputs(graph):
            for got, wanted in zip(run(given), _tuple(graph.original(*given)), strict=True):
                worst = max(worst, difference(got, wanted, low=low))
    if not worst <= bound:
        raise ExportError(
            f"{graph.name}: got an error of {worst:.1e} against torch, expected at most {bound:.0e} in {precision}; "
            "nothing was written. Try --precision float32, and report it if that fails too"
        )
    return Parity(worst, bound, "relative rms" if low else "relative maximum", measured)


def difference(got: Tensor, wanted: Tensor, *, low: bool) -> float:
    """Return how far two tensors are apart: by root mean squares (``low``), or by the largest values.

    Low precisions are held to a hundredth of the values' natural size, 1, where values are smaller: a fresh model's
    network gives next to nothing, of which 16 bits hold few digits and which matters to nobody.
    """
    if got.shape != wanted.shape or not bool(torch.isfinite(got).all()):
        return float("inf")
    a, b = got.double(), wanted.double()
    if low:
        return float((a - b).norm() / b.norm().clamp_min(1e-2 * b.numel() ** 0.5))
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))


def _runner(graph: Graph, path: Path) -> tuple[Run, str]:
    """Return what computes a graph, and by what: ONNX Runtime where it is here and takes the graph on this CPU."""

    def traced(given: Sequence[Tensor]) -> Sequence[Tensor]:
        return _tuple(graph.module(*given))

    if importlib.util.find_spec("onnxruntime") is not None:
        from diffsda.export.onnxruntime import NotHere, open_graph

        with contextlib.suppress(NotHere):
            held = open_graph(path)
            return lambda given: held(dict(zip(graph.inputs, given)), graph.outputs), "onnxruntime"
    return traced, "torch (what was traced)"


def _tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _inputs(graph: Graph) -> Iterator[tuple[Tensor, ...]]:
    """Yield inputs like the example with other sizes of the free axes, its rows over again in another order."""
    for size in graph.sizes:
        given = []
        for tensor, axes in zip(graph.example, graph.axes):
            for number, axis in enumerate(axes):
                # Clips are two frames at least.
                wanted = max(size, 2) if number else size
                tensor = tensor.index_select(axis, torch.arange(wanted) * 2 % tensor.shape[axis])
            given.append(tensor)
        yield tuple(given)
