"""What is timed: a preset, our model and the published one on the same weights, and the same clips."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from diffsda.authors_keys import to_theirs
from diffsda.bench import published
from diffsda.bench.floor import Floor, flops, operations
from diffsda.bench.published.operations import What
from diffsda.bench.stepping import stepping
from diffsda.errors import InputError
from diffsda.export.onnx import export
from diffsda.export.session import OnnxSession
from diffsda.factors import Factors
from diffsda.inference.execution import Execution
from diffsda.inference.session import Session
from diffsda.model import DiffSDA
from diffsda.presets import preset
from diffsda.recipe import Recipe
from diffsda.train.options import Options
from diffsda.train.step import draw

PUBLISHED, OURS, COMPILED, ONNX = "published", "ours", "compiled", "onnxruntime"
SIZES: dict[str, tuple[int, int | None]] = {
    "physionet": (4, None),
    "timit": (4, None),
    "etth1": (2, None),
    "airq": (1, None),
    "video32": (1, 4),
    "tiny_video": (2, None),
}
"""Clips and frames of a preset's rows; None: its own frames. Vector presets: the recipes' batches cut until a
63-evaluation sample is about 0.13 TFLOP (airq, trained only: one clip, ten draws of it), a second or two on two
cores. video32: four frames, as a clip of ten would take ten seconds a sample and frames are denoised one by one."""
CASES: dict[str, tuple[str, ...]] = {
    "encode": ("physionet", "timit", "etth1", "video32", "tiny_video"),
    "denoise": ("physionet", "timit", "etth1", "video32", "tiny_video"),
    "sample": ("physionet", "timit", "etth1", "video32", "tiny_video"),
    "train": ("physionet", "etth1", "airq", "tiny_video"),
}
"""Presets timed, by what is timed."""
WITH_COMPILED = {"denoise": ("physionet", "video32"), "sample": ("physionet", "video32")}
"""Where torch.compile takes part: a vector and a video net; compiling takes a minute each."""
WITH_ONNX = {"encode": ("physionet", "video32"), "sample": ("physionet", "video32")}
"""Where an export in ONNX Runtime takes part, if that is installed."""
STEPS = 32
"""Solver steps of the sample: 63 evaluations."""
TOLERANCE = 1e-4
"""Largest difference allowed between ours and published, relative to the largest value: a speed of something
else is no speed. The stochastic parts of a training step are given the same draws."""


def recipe(name: str) -> Recipe:
    """Return a preset's recipe, or ``video32``: voxceleb's networks on latents of its size, base width 32."""
    if name != "video32":
        return preset(name)
    narrow = {"width": 32}
    return preset("voxceleb").replace(
        name=name,
        clips={"channels": 3},
        backbone=narrow,
        encoder={**narrow, "hidden": 128, "static": 64, "dynamic": 8},
    )


def threads() -> int:
    """Return the threads that benches run on: BENCH_THREADS, or two where there are two cores.

    Raises: InputError for anything but a whole number from 1 to the number of cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("BENCH_THREADS") or str(min(2, cores))
    if not given.isdigit() or not 1 <= int(given) <= cores:
        raise InputError(f"BENCH_THREADS: got {given!r}, expected a whole number from 1 to {cores}, the cores here")
    return int(given)


def contestants(what: str, name: str) -> Sequence[str]:
    """Return who takes part in a row, ours last: the others are timed before it in every round."""
    compiled = (COMPILED,) if name in WITH_COMPILED.get(what, ()) else ()
    here = all(importlib.util.find_spec(package) for package in ("onnx", "onnxscript", "onnxruntime"))
    exported = (ONNX,) if here and name in WITH_ONNX.get(what, ()) else ()
    return PUBLISHED, *compiled, *exported, OURS


@dataclass(frozen=True)
class Case:
    """One preset with everything needed to time it both ways."""

    name: str
    batch: int
    frames: int | None = None
    device: str = "cpu"
    steps: int = STEPS

    @property
    def place(self) -> torch.device:
        """Where everything lies."""
        return torch.device(self.device)

    @cached_property
    def model(self) -> DiffSDA:
        """Our model, with every weight random (a fresh last layer would make the network trivial)."""
        torch.manual_seed(0)
        # Dropout draws differ between two implementations; without it the losses can be compared.
        changed = recipe(self.name).replace(
            backbone={"dropout": 0.0},
            encoder={"dropout": 0.0},
            optim={"batch": self.batch},
            sampling={"steps": self.steps},
        )
        with self.place:
            model = DiffSDA(changed).eval()
        with torch.no_grad():
            for p in model.parameters():
                if p.abs().max() < 1e-4:
                    p.normal_(std=0.02)
        return model

    @cached_property
    def ours(self) -> Session:
        """Our model prepared for inference."""
        return self.session(precision="float32", route="eager")

    @cached_property
    def compiled(self) -> Session:
        """The same, compiled."""
        return self.session(precision="float32", route="compile")

    @cached_property
    def exported(self) -> OnnxSession:
        """The same, exported and run by ONNX Runtime on as many threads as torch has."""
        return OnnxSession(self.export_folder("float32"))

    def export_folder(self, precision: str) -> Path:
        """Return a folder with our model exported, which goes when the process does."""
        if precision not in self._folders:
            self._folders[precision] = TemporaryDirectory()
            export(self.model, Path(self._folders[precision].name) / "export", precision=precision)
        return Path(self._folders[precision].name) / "export"

    @cached_property
    def _folders(self) -> dict[str, TemporaryDirectory[str]]:
        return {}

    def session(self, **execution: Any) -> Session:
        """Return our model prepared in some way; ``execution`` goes to ``Execution``."""
        return Session(self.model, Execution(**execution))

    @cached_property
    def published(self) -> published.Published:
        """The published model on the same weights; its dead attention stays as it was drawn."""
        with self.place:
            model = published.build(self.model.recipe)
        model.load_state_dict(to_theirs(self.model.state_dict(), self.model), strict=False)
        return model.eval()

    @cached_property
    def clips(self) -> Tensor:
        """Clips (B, V, ...) at the scale the model expects."""
        c = self.model.recipe.clips
        frame = (c.channels, c.size, c.size) if c.size else (c.channels,)
        frames = self.frames or c.frames
        assert frames is not None
        drawn = torch.randn(self.batch, frames, *frame, generator=torch.Generator().manual_seed(1))
        return (0.5 * drawn).to(self.place)

    @cached_property
    def noise(self) -> Tensor:
        """Unit noise like the clips."""
        return torch.randn(self.clips.shape, generator=torch.Generator().manual_seed(2)).to(self.place)

    @cached_property
    def factors(self) -> Factors:
        """The clips' factors."""
        with torch.no_grad():
            return self.model.encode(self.clips)

    @cached_property
    def condition(self) -> Tensor:
        """The clips' factors as the published model reads them."""
        with torch.no_grad():
            return self.published.encode(self.clips)[2]

    def floor(self, what: What, **where: Any) -> tuple[Floor, int]:
        """Return the floor, ready to be timed, and its FLOPs; ``where`` goes to ``Floor``."""
        listed = operations(self.model.recipe, what, self.batch, self.clips.shape[1])
        return Floor(listed, device=self.place, **where), flops(listed)


@lru_cache
def case(name: str) -> Case:
    """Return the case of a preset, built once."""
    return Case(name, *SIZES[name])


def encode(one: Case, who: str) -> Callable[[], Tensor]:
    """Encode the clips; the result is the static factor."""
    model = one.published if who == PUBLISHED else _session(one, who)

    @torch.no_grad()
    def call() -> Tensor:
        out: Any = model.encode(one.clips)
        return out[0] if who == PUBLISHED else out.static

    return call


def denoise(one: Case, who: str) -> Callable[[], Tensor]:
    """Evaluate the network once, as the sampler does: conditioning ready beforehand where it can be."""
    sigma = 0.7
    if who == PUBLISHED:
        # The authors' sampler has its levels on the device.
        level: Any = sigma if one.device == "cpu" else torch.tensor(sigma, dtype=torch.float64, device=one.place)

        @torch.no_grad()
        def theirs() -> Tensor:
            return one.published.denoise(one.noise, level, one.condition).reshape(one.noise.shape)

        return theirs
    return evaluation(one, _session(one, who), sigma)


def evaluation(one: Case, session: Session, sigma: float = 0.7) -> Callable[[], Tensor]:
    """Return one evaluation by a session, with the preconditioning around it."""
    rows, edm = one.noise.flatten(0, 1), one.model.denoiser.precondition
    with torch.no_grad():
        evaluate = session.evaluate((sigma,), one.factors.per_frame().flatten(0, 1))

    @torch.no_grad()
    def call() -> Tensor:
        f = evaluate(rows * edm.c_in(sigma), 0)
        return torch.add(rows * edm.c_skip(sigma), f, alpha=edm.c_out(sigma)).reshape(one.noise.shape)

    return call


def sample(one: Case, who: str) -> Callable[[], Tensor]:
    """Make clips with 63 evaluations, tables included."""
    if who == PUBLISHED:
        return lambda: published.sample(one.published, one.noise, one.condition)
    session = _session(one, who)
    return lambda: session.sample(one.factors, one.noise)


def _session(one: Case, who: str) -> Any:
    return {COMPILED: lambda: one.compiled, ONNX: lambda: one.exported, OURS: lambda: one.ours}[who]()


def train(one: Case, who: str, options: Options | None = None) -> Callable[[], Tensor]:
    """Do one optimiser step, noise drawing included; the result is the loss. ``options``: how ours runs."""
    settings, step = one.model.recipe, iter(range(10**9))
    fresh = Case(one.name, one.batch, one.frames, one.device, one.steps)
    if who == PUBLISHED:
        theirs = fresh.published.train()  # cuDNN's recurrent networks have no backward pass in evaluation
        optimiser = published.optimiser(theirs)

        def call() -> Tensor:
            draws = draw(settings, one.clips.shape, next(step), one.place)
            sigma, noise = draws.rows(slice(None))
            normal = (sigma.log() - settings.noise.P_mean) / settings.noise.P_std
            normal = normal.reshape(*normal.shape, *(1,) * (noise.ndim - 2))
            return torch.as_tensor(published.step(theirs, optimiser, one.clips, noise=(normal, noise))[0])

        return call
    return stepping(fresh.model.train(), one.clips, options or Options())[0]


def records_folder() -> Path:
    """Return where records are kept."""
    return Path(__file__).parent / "records"
