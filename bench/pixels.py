"""Pixels to pixels: the swap job that people run on a model of latents, from files of bytes to files of bytes.

Read, first-stage encode of both donors, swap from fresh noise (63 evaluations), first-stage decode, bytes to the host,
written: the code of ``diffsda infer --task swap --noise fresh --first-stage``, with random weights at full size.
Throughput is that of a whole job by the host's clock; the idle share is what the profiler saw no work on the GPU for,
within a job of a few tiles.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from diffsda.bench.cases import Case
from diffsda.data.arrays import write
from diffsda.export.infer import Settings, Summary, run, task_named
from diffsda.export.infer.pixels import Pixels
from diffsda.export.parts import PreparedStage
from diffsda.firststage.build import build
from diffsda.firststage.latents import LatentSpace
from diffsda.firststage.recipe import FirstStage, configuration
from diffsda.inference.execution import TYPES, Execution
from diffsda.inference.session import Session

CASE = "pixels/16"
ROUNDS = 3
"""Jobs that are timed; the median counts."""


@dataclass(frozen=True)
class Scale:
    """How large the job is: pairs of clips, those in a tile, and the tiles that are profiled."""

    pairs: int = 64
    tile: int = 16
    profiled: int = 3


def row(
    one: Case, stage: FirstStage | None = None, scale: Scale | None = None, say: Callable[[str], None] = lambda w: None
) -> dict[str, Any]:
    """Return the row of one model: clips a second, the share of time a GPU is idle, and how the model was run."""
    stage, scale = stage or configuration("vq8"), scale or Scale()
    session = Session(one.model, Execution())
    pixels = _pixels(one, stage, session)
    task = task_named("swap", session, noise="fresh", steps=one.steps)
    with TemporaryDirectory() as place:
        folder = Path(place)
        jobs = {count: _job(folder, count, pixels, one) for count in (scale.pairs, scale.tile * scale.profiled)}

        def do(count: int) -> Summary:
            with TemporaryDirectory(dir=folder) as out:
                settings = Settings(tile=scale.tile, readers=4, writers=4)
                summary = run(session, jobs[count], task, Path(out) / "out", settings, model="m", pixels=pixels)
            if summary.failed or summary.done != count:
                raise RuntimeError(
                    f"{len(summary.failed)} of {count} clips failed: {list(summary.failed.values())[:1]}"
                )
            return summary

        say("making graphs")
        first = do(scale.tile * scale.profiled)
        seconds = [_timed(lambda: do(scale.pairs), say) for _ in range(ROUNDS)]
        idle = _idle(lambda: do(scale.tile * scale.profiled)) if one.place.type == "cuda" else None
    return {
        "clips_per_s": scale.pairs / sorted(seconds)[len(seconds) // 2],
        "seconds": seconds,
        "pairs": scale.pairs,
        "tiles": first.tiles,
        "idle_share": idle,
        "how": session.report(),
    }


def _pixels(one: Case, stage: FirstStage, session: Session) -> Pixels:
    torch.manual_seed(0)
    with one.place:
        model = build(stage).eval().requires_grad_(False)
    ready = PreparedStage(model, TYPES[session.execution.precision])
    # What random weights make of random clips is no news.
    return Pixels(LatentSpace(ready, session.whitening, tell=lambda words: None), one.model.recipe)


def _job(folder: Path, pairs: int, pixels: Pixels, one: Case) -> Path:
    """Write clips of bytes and a job of pairs of them; every clip lends its dynamics to the next one."""
    form, frames = pixels.form, one.frames or one.model.recipe.clips.frames
    assert frames is not None
    assert form.size is not None
    draw = np.random.default_rng(0)
    for i in range(pairs):
        path = folder / f"{i}.npz"
        if not path.exists():
            x = draw.integers(0, 256, (frames, form.channels, form.size, form.size), np.uint8)
            write(path, {"x": x})
    job = folder / f"{pairs}.jsonl"
    lines = [{"key": str(i), "static": f"{i}.npz", "dynamic": f"{(i + 1) % pairs}.npz"} for i in range(pairs)]
    job.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return job


def _timed(call: Callable[[], object], say: Callable[[str], None]) -> float:
    say("timing")
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _idle(call: Callable[[], object]) -> float:
    """Run a call under the profiler; return the share of time, from the first to the last work, without any."""
    from torch.profiler import DeviceType, ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        call()
        torch.cuda.synchronize()
    return idle_share(
        (event.time_range.start, event.time_range.end)
        for event in seen.events() or ()
        if event.device_type == DeviceType.CUDA
    )


def idle_share(spans: Iterable[tuple[float, float]]) -> float:
    """Return the share of time between the first and the last of some spans that none of them covers; 1 for none."""
    ordered = sorted(spans)
    if not ordered:
        return 1.0
    begin, reached, idle = ordered[0][0], ordered[0][0], 0.0
    for start, end in ordered:
        idle += max(0.0, start - reached)
        reached = max(reached, end)
    return idle / (reached - begin) if reached > begin else 1.0
