"""diffsda infer: a job of many clips, in parts, with stops, to a folder of results."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from diffsda.cli.options import WithModel, parse
from diffsda.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Do a task for every clip of a job. What is there is not done again: to go on, give the same command."""

    job: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="JOB")]
    """A folder of .npz, .npy or .safetensors files, each one clip x (V, ...) or a batch x (N, V, ...); or a JSON-lines
    file with {"key", "path"} a line, {"key", "static", "dynamic"} for swaps."""
    model: str
    """A model file, a run folder, or an exported folder."""
    task: Literal["encode", "reconstruct", "swap"]
    """What to do with each clip."""
    out: Path
    """Folder for the results: clips/, results.jsonl, failed.jsonl."""
    seed: int = 0
    """A clip draws from a seed made of this and its key."""
    steps: int | None = None
    """Solver steps T; left open, the model's."""
    tile: int | None = None
    """Clips worked on at once; left open, what suits the model and the device."""
    noise: Literal["own", "fresh", "dynamic", "static", "shared"] | None = None
    """Start noise. reconstruct: own (usual) or fresh. swap: dynamic (usual), static, fresh or shared."""
    shard: str | None = None
    """I/N: do part I, from 0, of N; left open, the process's share under torchrun, else all."""
    readers: int = 2
    """Threads that read."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Of the networks; auto is bf16 for video on CUDA, float32 elsewhere."""
    route: Literal["auto", "eager", "graph", "compile"] = "auto"
    """Eagerly, as one CUDA graph, or through torch.compile (slow to begin); auto is the fastest known."""
    layout: Literal["auto", "channels_last", "contiguous"] = "auto"
    """Of video activations; auto is channels_last on CUDA, contiguous on the CPU."""
    as_is: bool = False
    """The clips are in the model's units already: do not whiten them, nor undo it."""
    json: bool = False
    """Print a summary as JSON instead of the folder."""


def run(argv: list[str]) -> int:
    """Work through a job; return 1 if a clip failed, 128 and the signal if one stopped it."""
    options = parse(Options, argv, "infer", "Do a task for every clip of a job.")
    from diffsda.cli.clips import open_session
    from diffsda.export.infer import TASKS, Settings, read_job
    from diffsda.export.infer import run as infer
    from diffsda.train.parallel import leave

    if options.readers < 1:
        raise InputError(f"--readers: got {options.readers}, expected at least 1")
    settings = Settings(
        seed=options.seed,
        steps=options.steps,
        noise=options.noise,
        tile=options.tile,
        as_is=options.as_is,
        shard=_shard(options.shard),
        readers=options.readers,
    )
    # Before a large model is read.
    job = read_job(options.job, TASKS[options.task].fields)
    how = WithModel(device=options.device, precision=options.precision, route=options.route, layout=options.layout)
    others: list[Any] = []
    try:
        session = open_session(options.model, how)
        _get_to_know(others)
        with clip_bar(f"infer {options.task}") as say:
            digest = _digest(options.model)
            summary = infer(session, job, options.task, options.out, settings, model=digest, progress=say)
        if summary.signal is None:
            _meet(others)
    finally:
        others.clear()
        leave()
    first = int(os.environ.get("RANK", "0")) == 0
    if first:
        print(json.dumps(summary.to_dict()) if options.json else options.out)
    if summary.failed:
        key, reason = next(iter(summary.failed.items()))
        print(
            f"{len(summary.failed)} of {summary.clips} clips failed, see {options.out / 'failed.jsonl'}; the first, "
            f"{key!a}: {reason}",
            file=sys.stderr,
        )
    if summary.signal is not None:
        left = summary.clips - summary.skipped - summary.done - len(summary.failed)
        print(
            f"stopped by signal {summary.signal} with {left} clips to do; go on with the same command", file=sys.stderr
        )
        return 128 + summary.signal
    return 1 if summary.failed else 0


@contextmanager
def clip_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Watch clips go by, with clips/s and the time left: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _Lines(description).say
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task, began = bar.add_task(description, total=None), time.monotonic()

        def show(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=done, total=total, description=f"{description}  {rate:.3g} clips/s")

        yield show


class _Lines:
    """A line every half minute: short work needs no words."""

    def __init__(self, description: str) -> None:
        self.description, self.began = description, time.monotonic()
        self.said = self.began

    def say(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.said < 30:
            return
        self.said = now
        rate = done / (now - self.began)
        left = timedelta(seconds=round((total - done) / max(rate, 1e-9)))
        print(f"{self.description}: clip {done}/{total}, {rate:.3g} clips/s, {left} left", file=sys.stderr)


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None:
        raise InputError(f"--shard: got {text!r}, expected I/N, part I of N parts counted from 0")
    return int(found[1]), int(found[2])


def _digest(model: str) -> str:
    """Return the SHA-256 of a model file, or of an export's manifest: a name for the model."""
    from diffsda.export import manifest
    from diffsda.header import newest

    about = Path(model) / manifest.NAME
    with (about if about.is_file() else newest(model)).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _get_to_know(others: list[Any]) -> None:
    """Add the group of torchrun's processes, if there are several; it waits for as long as a part of a job takes."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        others.append(dist.new_group(backend="gloo", timeout=timedelta(days=365)))


def _meet(others: list[Any]) -> None:
    """Wait for the other processes: one that leaves with a status makes torchrun stop those still at work."""
    import torch.distributed as dist

    for group in others:
        dist.barrier(group=group)
