"""Run every runtime that a host has on an exported folder, and say how far each is from the model it came from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from diffsda.disentangler import Disentangler
from diffsda.errors import DiffSDAError
from diffsda.export import manifest, reference
from diffsda.export.engine_session import EngineSession
from diffsda.export.manifest import Manifest
from diffsda.export.parity import difference
from diffsda.export.reference import Reference, ask
from diffsda.export.session import OnnxSession

BOUNDS = {"float32": 1e-4, "fp16": 2e-2, "bf16": 4e-2}
"""float32: largest difference by the largest value; lower precisions: root mean square by root mean square."""


@dataclass(frozen=True)
class Verdict:
    """How a runtime did: relative errors of factors and sample, seconds for both; or why it did not run."""

    runtime: str
    factors: float = float("nan")
    sample: float = float("nan")
    bound: float = float("nan")
    seconds: float = float("nan")
    skipped: str = ""

    @property
    def good(self) -> bool:
        """Whether it ran and both errors are within the bound."""
        return not self.skipped and self.factors <= self.bound and self.sample <= self.bound


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


def _runtimes(folder: Path) -> dict[str, Callable[[], Disentangler]]:
    return {
        "onnxruntime cpu": lambda: OnnxSession(folder),
        "onnxruntime cuda": lambda: OnnxSession(folder, provider="cuda"),
        "tensorrt": lambda: EngineSession(folder, clips=reference.CLIPS, frames=reference.FRAMES),
    }


def _verdict(runtime: str, session: Disentangler, answered: Reference, held: Manifest) -> Verdict:
    low = held.precision != "float32"
    ask(session, answered.x, answered.noise, answered.factors)  # warm
    began = time.perf_counter()
    got = ask(session, answered.x, answered.noise, answered.factors)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    factors = max(difference(got.static, answered.static, low=low), difference(got.dynamic, answered.dynamic, low=low))
    return Verdict(runtime, factors, difference(got.sample, answered.sample, low=low), BOUNDS[held.precision], seconds)
