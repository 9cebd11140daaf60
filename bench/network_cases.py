"""What the network benches time, who takes part, and how a contestant is made on any preset and device."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diffsda.bench.cases import ONNX, STEPS, Case, denoise, evaluation, sample, train
from diffsda.bench.published import fixed
from diffsda.bench.published.operations import What
from diffsda.errors import DiffSDAError
from diffsda.export.engine import build_engines
from diffsda.export.engine_session import EngineSession
from diffsda.export.session import OnnxSession
from diffsda.inference.execution import Execution, Precision
from diffsda.inference.session import Session
from diffsda.kernels import backend
from diffsda.train.options import Options
from diffsda.train.step import draw

Call = Callable[[], Tensor]
PUBLISHED, FIXED, FIXED_COMPILED = "published", "published_fixed", "published_fixed_compiled"
FIXED_TUNED = "published_fixed_max_autotune"
EAGER, GRAPH, COMPILE, PACKAGE = "eager", "graph", "compile", "aot_inductor"
FLOOR, FLOOR_PLAIN, FLOOR_TUNED = "floor", "floor_plain", "floor_max_autotune"
TENSORRT = "tensorrt"
INFER = "infer"
EXPORTED = (ONNX, TENSORRT)
TILED, GLUON = "graph_tile_64", "graph_gluon_norms"
OURS = (GRAPH, EAGER, COMPILE, PACKAGE, TILED, GLUON)
"""Peers that are ways to run this project, the one that ratios refer to first."""
FLOORS = (FLOOR, FLOOR_PLAIN, FLOOR_TUNED)
TIME_OVER = "time over"
"""Why someone was skipped who is to be timed later."""
MODES = {FIXED_COMPILED: "reduce-overhead", FIXED_TUNED: "max-autotune"}
"""How torch.compile is asked for CUDA graphs: without and with trying further kernels."""


@dataclass(frozen=True)
class Setting:
    """What is timed, on how many clips of how many frames."""

    what: What
    clips: int
    frames: int | None = None
    steps: int = STEPS

    def case(self, preset: str, device: str) -> Case:
        """Return the models and clips of a preset for this."""
        return Case(preset, self.clips, self.frames, device, self.steps)


SETTINGS = {
    "evaluation/160": Setting("denoise", 16, 10),
    "evaluation/16": Setting("denoise", 1, 16),
    "evaluation/1": Setting("denoise", 1, 1),
    "sample/16": Setting("sample", 16),
    "sample/1": Setting("sample", 1),
    "train/16": Setting("train", 16),
}
"""Frames of an evaluation, clips of a sample and of a training step."""


class Absent(Exception):
    """Someone who cannot take part here, with the reason."""


def make(who: str, setting: Setting, one: Case) -> Call:
    """Return a contestant's call: D of the clips, a sample, or the loss of one training step.

    Raises: Absent for one that cannot take part.
    """
    makers = {"denoise": _evaluating, "sample": _sampling, "train": _training}
    if who in (GRAPH, TILED, GLUON, FIXED_COMPILED, FIXED_TUNED, TENSORRT) and one.place.type != "cuda":
        raise Absent("no CUDA device")
    if who in FLOORS:
        raise Absent("a floor computes nothing")
    return makers[setting.what](who, one)


def session(one: Case, who: str, precision: Precision | None = None) -> Session:
    """Return our model prepared for one of our routes, unless told otherwise in bf16, or in float32 on the CPU."""
    routes: dict[str, Literal["eager", "graph", "compile"]] = {EAGER: "eager", COMPILE: "compile"}
    usual: Precision = "bf16" if one.place.type == "cuda" else "float32"
    # Tiles whose activations fit the L2 cache, so that norms find their input there.
    tile = 64 if who == TILED else None
    return Session(one.model, Execution(precision=precision or usual, route=routes.get(who, "graph"), tile=tile))


def exported(one: Case, who: str) -> OnnxSession | EngineSession:
    """Return our model exported (in fp16, or in float32 on the CPU) and run by ONNX Runtime or TensorRT.

    Raises: Absent where they are not, or have nothing for this device.
    """
    cuda = one.place.type == "cuda"
    try:
        folder = one.export_folder("fp16" if cuda else "float32")
        if who == ONNX:
            return OnnxSession(folder, provider=one.place.type, tile=None if not cuda else 160)
        clips, frames = one.clips.shape[:2]
        build_engines(folder, graphs=("encoder", "network"), clips=(clips,), frames=frames)
        return EngineSession(folder, clips=clips, frames=frames, device=one.place)
    except DiffSDAError as reason:
        raise Absent(str(reason)) from None


def _evaluating(who: str, one: Case) -> Call:
    if who == PUBLISHED:
        return as_published(denoise(one, PUBLISHED), one)
    if who in (FIXED, *MODES):
        net, a = fixed.denoiser(fixed.fixed(one.published, train=False), MODES.get(who)), one.condition
        sigma = torch.full((one.noise.shape[0] * one.noise.shape[1],), 0.7, device=one.place)
        return _without_gradients(lambda: net(one.noise, sigma, a), one)
    if who == PACKAGE:
        return packaged(one)
    if who in (TILED, GLUON):
        raise Absent("samples alone")
    if who in EXPORTED:
        call = evaluation(one, exported(one, who))
        return captured(call) if who == TENSORRT else call
    if who == GRAPH:
        # A session graphs whole samples; here one evaluation of its networks is.
        return captured(evaluation(one, session(one, EAGER)))
    call = evaluation(one, session(one, who))
    return captured(call) if who == COMPILE and one.place.type == "cuda" else call


def _sampling(who: str, one: Case) -> Call:
    if who == PUBLISHED:
        return as_published(sample(one, PUBLISHED), one)
    if who in (FIXED, *MODES):
        model, a = fixed.fixed(one.published, train=False), one.condition
        net = fixed.denoiser(model, MODES.get(who))
        return _without_gradients(lambda: fixed.sample(net, model, one.noise, a), one)
    if who == PACKAGE:
        raise Absent("a package holds one evaluation")
    ours = exported(one, who) if who in EXPORTED else session(one, who)
    factors = ours.encode(one.clips)

    def call() -> Tensor:
        with backend("auto", group_norm="gluon") if who == GLUON else nullcontext():
            return ours.sample(factors, one.noise)

    return call


def _training(who: str, one: Case) -> Call:
    if who == PUBLISHED:
        return as_published(train(one, PUBLISHED), one)
    if who in (FIXED, *MODES):
        return _training_fixed(one, MODES.get(who))
    if who in (PACKAGE, TILED, GLUON, *EXPORTED):
        raise Absent(f"{who} does not train")
    cuda = one.place.type == "cuda"
    options = {GRAPH: Options(graph=True), COMPILE: Options(compile=True, graph=cuda)}.get(who, Options())
    return train(one, who, options)


def _training_fixed(one: Case, mode: str | None) -> Call:
    settings, steps = one.model.recipe, iter(range(10**9))
    fresh = Case(one.name, one.batch, one.frames, one.device, one.steps)
    model = fixed.fixed(fresh.published, train=True).train()
    del fresh
    adamw = torch.optim.AdamW(
        model.parameters(), lr=settings.optim.lr, weight_decay=settings.optim.weight_decay, fused=True
    )
    step = fixed.trainer(model, adamw, mode)

    def call() -> Tensor:
        draws = draw(settings, one.clips.shape, next(steps), one.place)
        sigma, noise = draws.rows(slice(None))
        normal = (sigma.log() - settings.noise.P_mean) / settings.noise.P_std
        normal = normal.reshape(*normal.shape, *(1,) * (noise.ndim - 2))
        with _cudnn(one, benchmark=True):
            return step(one.clips, (normal, noise))

    return call


def as_published(call: Call, one: Case) -> Call:
    """Run with the authors' settings: TF32 in convolutions, float32 in products, no trying of convolutions."""

    def run() -> Tensor:
        with _cudnn(one, benchmark=False):
            return call()

    return run


def _without_gradients(call: Call, one: Case) -> Call:
    def run() -> Tensor:
        with torch.no_grad(), _cudnn(one, benchmark=True):
            return call()

    return run


def _cudnn(one: Case, *, benchmark: bool) -> Any:
    enabled = torch.backends.cudnn.enabled
    return torch.backends.cudnn.flags(enabled=enabled, benchmark=benchmark, allow_tf32=True)


def captured(call: Call) -> Call:
    """Capture a call into a CUDA graph; the result is the graph's own memory."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        out = call()

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay


class _Evaluation(nn.Module):
    """One evaluation as a module without inputs but the clips: what is exported."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def packaged(one: Case) -> Call:
    """Compile one evaluation of the prepared network ahead of time, load the package and return its call.

    Norms and attention are the references there: Inductor fuses them, and a package knows no operations of ours.
    """
    import tempfile
    from pathlib import Path

    import torch._inductor

    began = time.perf_counter()
    ours, sigma, edm = session(one, EAGER), 0.7, one.model.denoiser.precondition
    with torch.no_grad():
        evaluate = ours.evaluate((sigma,), one.factors.per_frame().flatten(0, 1))

    def run(x: Tensor) -> Tensor:
        f = evaluate(x * edm.c_in(sigma), 0)
        return torch.add(x * edm.c_skip(sigma), f, alpha=edm.c_out(sigma))

    rows = one.noise.flatten(0, 1)
    with torch.no_grad(), backend("torch"), tempfile.TemporaryDirectory() as folder:
        program = torch.export.export(_Evaluation(run), (rows,))
        path = torch._inductor.aoti_compile_and_package(program, package_path=str(Path(folder) / "net.pt2"))
        built = time.perf_counter()
        package = torch._inductor.aoti_load_package(path)
    loaded = time.perf_counter()

    def call() -> Tensor:
        return package(rows).reshape(one.noise.shape)

    quick = captured(call) if one.place.type == "cuda" else call
    quick.seconds = {"build_seconds": built - began, "load_seconds": loaded - built}  # type: ignore[attr-defined]
    return quick


def relative(got: Tensor, expected: Tensor) -> float:
    """Return the root mean square of the difference by that of the expected values; infinite for what is no number."""
    got, expected = got.detach().double(), expected.detach().double()
    error = float((got - expected).norm() / expected.norm().clamp_min(1e-30))
    return error if error < 1e30 else 1e30
