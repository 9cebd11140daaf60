"""Run every runtime that a host has on an exported folder, and say how far each is from the model it came from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from diffsda.errors import DiffSDAError
from diffsda.export import manifest, parity, reference
from diffsda.export.engine_session import EngineSession
from diffsda.export.manifest import Manifest
from diffsda.export.parity import difference
from diffsda.export.reference import Reference, ask
from diffsda.export.session import ExportedSession, OnnxSession

BOUNDS = parity.BOUNDS | {"float32": parity.SAMPLER}
"""float32: largest difference by the largest value; lower precisions: root mean square by root mean square."""


@dataclass(frozen=True)
class Verdict:
    """How a runtime did: relative errors of factors and sample, seconds for both; or why it did not run.

    ``parts``: the same errors of the graphs beside the model's own, by name.
    """

    runtime: str
    factors: float = float("nan")
    sample: float = float("nan")
    bound: float = float("nan")
    seconds: float = float("nan")
    skipped: str = ""
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether it ran and all errors are within the bound."""
        errors = (self.factors, self.sample, *self.parts.values())
        return not self.skipped and all(error <= self.bound for error in errors)


def check(folder: str | Path) -> Iterator[Verdict]:
    """Yield a verdict for each runtime.

    Raises: InputError if the folder is no export; CheckpointError if its files are damaged.
    """
    folder = Path(folder)
    held, answered = manifest.read(folder), reference.read(folder)
    for name in held.graphs:
        held.path(folder, name)
    for runtime, start in _runtimes(folder).items():
        try:
            yield _verdict(runtime, start(), answered, held)
        except DiffSDAError as reason:
            yield Verdict(runtime, skipped=str(reason))


def _runtimes(folder: Path) -> dict[str, Callable[[], ExportedSession]]:
    return {
        "onnxruntime cpu": lambda: OnnxSession(folder),
        "onnxruntime cuda": lambda: OnnxSession(folder, provider="cuda"),
        "tensorrt": lambda: EngineSession(folder, clips=reference.CLIPS, frames=reference.FRAMES),
    }


def _verdict(runtime: str, session: ExportedSession, answered: Reference, held: Manifest) -> Verdict:
    low = held.precision != "float32"
    ask(session, answered.x, answered.noise, answered.factors)  # warm
    began = time.perf_counter()
    got = ask(session, answered.x, answered.noise, answered.factors)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    factors = max(difference(got.static, answered.static, low=low), difference(got.dynamic, answered.dynamic, low=low))
    sample = difference(got.sample, answered.sample, low=low)
    parts = {graph: _error(session, graph, ports, low=low) for graph, ports in answered.parts.items()}
    return Verdict(runtime, factors, sample, BOUNDS[held.precision], seconds, parts=parts)


def _error(session: ExportedSession, graph: str, ports: dict[str, Tensor], *, low: bool) -> float:
    """Return how far a graph beside the model's own is from what was recorded."""
    inputs = [ports[port.name] for port in session.manifest.graphs[graph].inputs]
    got = session.part(graph, *inputs).float().cpu()
    return difference(got, ports[manifest.PARTS[graph][0]], low=low)
