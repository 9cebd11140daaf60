"""The speed of one preset on this machine: what ``diffsda bench`` prints and keeps."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.bench import machine
from diffsda.bench.network_rows import stopwatch
from diffsda.bench.profiled import profile
from diffsda.bench.record import device as processor
from diffsda.bench.record import spread
from diffsda.bench.roofline import measured, roofline
from diffsda.bench.stepping import check, stepping
from diffsda.errors import InputError
from diffsda.inference.execution import Execution
from diffsda.inference.session import Session
from diffsda.model import DiffSDA
from diffsda.recipe import Recipe
from diffsda.train.options import Options
from diffsda.train.speed import memory_peak

FRAMES = 24
"""Frames of a clip where a preset leaves them open."""
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be measured, and how it runs; ``what``: train, sample, or latency (a sample of one clip)."""

    what: str
    recipe: Recipe
    batch: int | None = None
    frames: int | None = None
    device: str = "auto"
    precision: str = "auto"
    route: str = "auto"
    rounds: int = 5
    trace: Path | None = None

    @property
    def place(self) -> torch.device:
        """The device. Raises: InputError for one that is not here."""
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            place = torch.device(name)
        except RuntimeError:
            place = torch.device("meta")
        if place.type not in ("cpu", "cuda"):
            raise InputError(f"device: got {self.device!r}, expected auto, cpu, cuda or cuda:N")
        if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
            raise InputError(f"device: got {self.device!r}, but torch finds no such CUDA device; use cpu")
        return place

    @property
    def clips(self) -> int:
        """Clips at once: one for latency; else the recipe's batch, or on the CPU for samples at most 4 of them."""
        if self.what == "latency":
            if self.batch not in (None, 1):
                raise InputError(f"batch: got {self.batch}, but latency is that of one clip; use sample")
            return 1
        usual = self.recipe.optim.batch
        if self.what == "sample" and self.place.type == "cpu":
            usual = min(usual, 4)
        return self.batch or usual


def measure(wish: Wish, say: Say = lambda line: None) -> dict[str, Any]:
    """Run it round after round; return times, clips a second, the roofline beside them, memory, longest kernels.

    Raises: InputError for what this machine cannot do, or has not the memory for.
    """
    place, clips = wish.place, wish.clips
    recipe = wish.recipe.replace(optim={"batch": clips, "accumulate": 1})
    _check(wish)
    try:
        return _measured(wish, recipe, place, clips, say)
    except torch.OutOfMemoryError:
        raise InputError(
            f"batch: got {clips} clips, which the memory of {place} does not hold; use a smaller --batch"
        ) from None


def _measured(wish: Wish, recipe: Recipe, place: torch.device, clips: int, say: Say) -> dict[str, Any]:
    frames = wish.frames or recipe.clips.frames or FRAMES
    torch.manual_seed(0)
    with place:
        model = DiffSDA(recipe)
    shape = (clips, frames, *_frame(recipe))
    x = (0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(1))).to(place)
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    say("preparing")
    call, how = _training(wish, model, x) if wish.what == "train" else _sampling(wish, model, x)
    call()
    clock = stopwatch(call, place)
    times: list[float] = []
    for i in range(wish.rounds):
        times.append(clock())
        say(f"round {i + 1}/{wish.rounds}: {times[-1]:.3f} ms")
    memory = memory_peak(place)
    median = statistics.median(times)
    say("measuring the machine")
    dtype = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[how["precision"]]
    weights = sum(p.numel() for p in model.parameters()) if wish.what == "train" else 0
    work = roofline(
        recipe, "train" if wish.what == "train" else "sample", clips, frames, measured(place, dtype),
        itemsize=dtype.itemsize, weights=weights,
    )  # fmt: skip
    result = {
        "about": machine.environment()
        | {"cpu": processor(), "threads": torch.get_num_threads(), "cores": os.cpu_count()},
        "what": wish.what,
        "preset": recipe.name,
        "digest": recipe.digest,
        "batch": clips,
        "frames": frames,
        **({} if wish.what == "train" else {"steps": recipe.sampling.steps}),
        "how": how,
        "rounds": wish.rounds,
        "milliseconds": {"median": median, "low": min(times), "high": max(times), "spread": spread(times)},
        "clips_per_s": 1e3 * clips / median,
        "flops_per_s": 1e3 * work.flops / median,
        "roofline": work.about(median * 1e-3),
        "memory_peak_bytes": memory,
    }
    if wish.trace is not None:
        say("profiling")
        result["profile"] = profile(call, place, wish.trace, warm=0)
    return result


def _frame(recipe: Recipe) -> tuple[int, ...]:
    clips = recipe.clips
    return (clips.channels, clips.size, clips.size) if clips.size else (clips.channels,)


def _sampling(wish: Wish, model: DiffSDA, x: Tensor) -> tuple[Callable[[], Any], dict[str, Any]]:
    session = Session(model.eval(), _execution(wish))
    factors = session.encode(x)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(x.device)
    return lambda: session.sample(factors, noise), session.report()


def _execution(wish: Wish) -> Execution:
    precision: Any = wish.precision
    route: Any = wish.route
    return Execution(precision=precision, route=route)


def _check(wish: Wish) -> None:
    """Refuse what cannot run before anything is built."""
    if wish.what != "train":
        _execution(wish).resolve(wish.place, wish.recipe)
        return
    if wish.route not in ("auto", "eager", "graph", "compile"):
        raise InputError(f"route: got {wish.route!r}, expected auto, eager, graph or compile")
    check(wish.place, wish.recipe, _options(wish))


def _options(wish: Wish) -> Options:
    return Options(precision=wish.precision, graph=wish.route == "graph", compile=wish.route == "compile")


def _training(wish: Wish, model: DiffSDA, x: Tensor) -> tuple[Callable[[], Any], dict[str, Any]]:
    return stepping(model.train(), x, _options(wish))
