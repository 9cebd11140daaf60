"""Work through a job and keep account of it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffsda.data.arrays import write
from diffsda.disentangler import Disentangler
from diffsda.errors import DiffSDAError, InputError
from diffsda.export.infer.job import Job, read_job
from diffsda.export.infer.keys import seed_of
from diffsda.export.infer.loading import Failure, Loaded, Loader
from diffsda.export.infer.pipeline import Pipeline
from diffsda.export.infer.pixels import Pixels, to_video
from diffsda.export.infer.results import CLIPS, FAILED, RESULTS, Results, stamps
from diffsda.export.infer.tasks import Task, task_named
from diffsda.export.infer.tiles import Sizes, begin, check_tile, gathered
from diffsda.export.manifest import sha256
from diffsda.recipe import Clips as Form
from diffsda.train.interrupt import Interrupt

FORMAT = 1
TILES = {("mlp", "cpu"): 64, ("mlp", "cuda"): 1024, ("unet", "cpu"): 4, ("unet", "cuda"): 10}
"""Clips in a tile where nobody chose: about the frames a session works on at once."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to work through a job."""

    seed: int = 0
    """A clip draws from a seed made of this and its key."""
    steps: int | None = None
    """Solver steps; None takes the model's."""
    noise: str | None = None
    """Start noise; None takes the task's usual one."""
    tile: int | None = None
    """Clips worked on at once; None takes what suits the model and the device."""
    as_is: bool = False
    """Clips are in the model's units already."""
    shard: tuple[int, int] | None = None
    """(part, parts) of the job to do; None takes the rank and the number of processes torchrun started."""
    readers: int = 2
    """Threads that read."""
    writers: int = 4
    """Threads that write: they mostly wait for the disk."""
    write: Literal["npz", "mp4"] = "npz"
    """What results are kept as: arrays, or pictures alone, as a video."""
    fps: float = 25.0
    """Frames a second of videos that are written."""


@dataclass(frozen=True)
class Summary:
    """What a run did.

    ``failed`` are this run's failures by key, ``signal`` what stopped it early, if anything. ``shard``: the part of the
    job that all of this is about, as I/N; None for the whole.
    """

    out: str
    clips: int
    done: int
    skipped: int
    failed: dict[str, str]
    seconds: float
    clips_per_s: float
    tiles: dict[str, int]
    signal: int | None
    shard: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


Say = Callable[[int, int], None]
"""Told how many clips of this run are finished, and how many there are."""


def run(
    session: Disentangler,
    job: Job | str | os.PathLike[str],
    task: Task | str,
    out: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    model: str | None = None,
    pixels: Pixels | None = None,
    progress: Say = lambda done, total: None,
) -> Summary:
    """Do a task for every clip of a job; write a file for each under ``out``. What is there already is not done again.

    ``session``: whatever runs a model. ``model``: a digest that names the model; None works one out from what the
    session makes of a fixed clip. ``task``: a name or a ``Task``, whose own steps and noise then count. ``pixels``: the
    first stage of a model of latents, for clips of pixels.
    Results' bytes depend on the clip, its key and what ``infer.json`` says, on the same kind of machine; not on the
    order or the parts of the job, on what failed, or on how often it was stopped. A clip that cannot be worked on goes
    into ``failed.jsonl`` and is tried again next time. SIGINT and SIGTERM finish what is in flight.
    Raises: InputError for a job, an option or a folder that will not do, before any work; SaveError, on a full disk
    say, with all that was written kept.
    """
    settings = settings or Settings()
    tile = (
        TILES["unet" if session.recipe.video else "mlp", session._like().device.type]
        if settings.tile is None
        else settings.tile
    )
    check_tile(tile)
    if not 0 <= settings.seed < 2**62:
        raise InputError(f"seed: got {settings.seed}, expected a whole number from 0 to 2^62")
    if isinstance(task, str):
        task = task_named(task, session, noise=settings.noise, steps=settings.steps)
    part, parts = _shard(settings.shard)
    form = session.recipe.clips if pixels is None else pixels.form
    job = job if isinstance(job, Job) else read_job(job, task.fields, form)
    _apart(job.path, Path(out))
    about = {
        "format": FORMAT,
        "model": model or fingerprint(session),
        **task.about(),
        "seed": settings.seed,
        "tile": tile,
        "as_is": settings.as_is,
        "execution": _execution(session),
    }
    if pixels is not None:
        if settings.as_is:
            raise InputError("as_is: got it with a first stage, expected one of them: pixels are in no model's units")
        about["first_stage"] = pixels.digest
    if settings.write == "mp4":
        _check_video(task, form, settings)
        about["write"] = f"mp4 at {settings.fps:g} frames a second"
    results = Results(Path(out), about, f".{settings.write}")
    with results.at_work(part, parts):
        return _Run(session, task, results, settings, tile, progress, pixels).work(job, part, parts)


def _check_video(task: Task, form: Form, settings: Settings) -> None:
    if not task.clips or form.modality != "video" or form.latent or form.channels != 3:
        raise InputError(f"write: got mp4 for {task.name} with a model of {form.modality}, expected clips of pictures")
    if not 0 < settings.fps <= 1000:
        raise InputError(f"fps: got {settings.fps}, expected frames a second from above 0 to 1000")


def tiles_ahead(session: Disentangler) -> int:
    """Return how many tiles are begun before the results of one are waited for."""
    return int(session._like().is_cuda)


def fingerprint(session: Disentangler) -> str:
    """Return a digest of what a model makes of one fixed clip; other weights, or another machine, give another."""
    clips = session.recipe.clips
    frame = (clips.channels, clips.size, clips.size) if session.recipe.video else (clips.channels,)
    x = np.random.default_rng(0).normal(0, 0.5, (1, 4, *frame)).astype(np.float32)
    factors = session.encode(x)
    made = (factors.static, factors.dynamic, session.sample(factors, steps=2))
    digest = hashlib.sha256(session.recipe.digest.encode())
    for value in made:
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Made:
    """The results of a clip, in the model's units."""

    key: str
    arrays: dict[str, np.ndarray[Any, Any]]
    seconds: float


class _Run:
    """One run over one part of a job."""

    def __init__(
        self,
        session: Disentangler,
        task: Task,
        results: Results,
        settings: Settings,
        tile: int,
        progress: Say,
        pixels: Pixels | None,
    ) -> None:
        self.session, self.task, self.results, self.settings, self.progress = session, task, results, settings, progress
        self.tile, self.pixels, self.ahead = tile, pixels, tiles_ahead(session)
        self.loader = Loader(session, as_is=settings.as_is, pixels=pixels)
        self.sizes = Sizes(task, session, tile, pixels)
        self.execution = _execution(session)
        self.failed: dict[str, str] = {}
        self.stale: set[str] = set()
        self.sources: dict[str, list[list[int]] | None] = {}
        self.done, self.total = 0, 0
        self.counting = threading.Lock()

    def work(self, job: Job, part: int, parts: int) -> Summary:
        """Do what is missing of a part of a job."""
        there = self.results.done()
        mine = job.shard(part, parts)
        self.stale = {i.key for i in mine if i.key in there and self.results.stale(i, there[i.key])}
        items = tuple(item for item in mine if item.key not in there or item.key in self.stale)
        # Before they are read: a file that changes meanwhile is another by the next run.
        self.sources = {item.key: stamps(item) for item in items}
        self.total = len(items)
        began = time.monotonic()
        with Interrupt() as interrupt:
            self.stopping = lambda: interrupt.signal is not None
            pipeline: Pipeline[Any, Any, Any] = Pipeline(
                self.loader.load,
                self._keep,
                depth=2 * self.tile,
                stopping=self.stopping,
                readers=self.settings.readers,
                writers=self.settings.writers,
            )
            pipeline.run(self.loader.units(items), self._made)
        self.results.settle()
        seconds = time.monotonic() - began
        return Summary(
            out=str(self.results.folder),
            clips=len(mine),
            done=self.done,
            skipped=len(mine) - len(items),
            failed=dict(self.failed),
            seconds=round(seconds, 3),
            clips_per_s=round(self.done / seconds, 3) if seconds else 0.0,
            tiles={" ".join(map(str, shapes)): size for shapes, size in self.sizes.found.items()},
            signal=interrupt.signal,
            shard=f"{part}/{parts}" if parts > 1 else None,
        )

    def _made(self, arriving: Iterator[Loaded | Failure]) -> Iterator[Failure | _Made]:
        """Yield failures as they come, and results as tiles fill.

        A GPU is given the next tile before the results of one are waited for, so that it always has work.
        """
        begun: deque[Iterator[Failure | _Made]] = deque()
        for ready in gathered(arriving, self.sizes, lambda: not self.stopping()):
            if isinstance(ready, Failure):
                yield ready
                continue
            begun.append(self._tile(*ready))
            if len(begun) > self.ahead:
                yield from begun.popleft()
            if self.stopping():
                break
        while begun:
            yield from begun.popleft()

    def _tile(self, clips: list[Loaded], tile: int) -> Iterator[Failure | _Made]:
        """Begin a tile; what is returned waits for its results."""
        began = time.monotonic()
        seeds = [seed_of(clip.key, self.settings.seed) for clip in clips]
        try:
            wait = begin(self.task, self.session, clips, seeds, tile, self.pixels)
        except InputError as error:
            # What the task refuses, it refuses for all clips of these shapes.
            return iter([Failure(clip.key, str(error)) for clip in clips])
        return self._results(clips, tile, wait, began)

    def _results(
        self, clips: list[Loaded], tile: int, wait: Callable[[], dict[str, Any]], began: float
    ) -> Iterator[Failure | _Made]:
        made = wait()
        if _execution(self.session) != self.execution:
            raise DiffSDAError(
                f"tile: got {tile} clips, for which memory ran out; smaller pieces would change the last bits of "
                "results; choose a smaller --tile and a new folder"
            )
        seconds = (time.monotonic() - began) / len(clips)
        for row, clip in enumerate(clips):
            yield _Made(clip.key, {name: value[row] for name, value in made.items()}, seconds)

    def _keep(self, thing: Failure | _Made) -> None:
        """Write a result and a line about it, or a line about why there is none."""
        failure = thing if isinstance(thing, Failure) else None
        if isinstance(thing, _Made):
            wrong = [name for name, value in thing.arrays.items() if not np.isfinite(value).all()]
            if wrong:
                failure = Failure(thing.key, f"{wrong[0]}: the model gave a value that is not finite")
            else:
                self._write(thing)
        if failure is not None:
            if failure.key in self.stale:  # A result of the clip that was there before would pass for this one's.
                self.results.file(failure.key).unlink(missing_ok=True)
            self.results.append(FAILED, {"key": failure.key, "status": "failed", "reason": failure.reason})
        with self.counting:
            if failure is not None:
                self.failed[failure.key] = failure.reason
            else:
                self.done += 1
            self.progress(self.done + len(self.failed), self.total)

    def _write(self, made: _Made) -> None:
        arrays = {
            name: self.loader.restored(value) if name in self.task.clips else value
            for name, value in made.arrays.items()
        }
        path = self.results.file(made.key)
        if self.settings.write == "mp4":
            to_video(path, arrays["x"], self.settings.fps)
        else:
            write(path, arrays, overwrite=True)
        self.results.append(
            RESULTS,
            {
                "key": made.key,
                "status": "done",
                "digest": sha256(path),
                "seconds": round(made.seconds, 6),
                "file": f"{CLIPS}/{path.name}",
                "sources": self.sources[made.key],
            },
        )


def _shard(given: tuple[int, int] | None) -> tuple[int, int]:
    """Return which part of how many is this process's.

    Raises: InputError for a part that there is not.
    """
    part, parts = given or (int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
    if not 0 <= part < parts:
        raise InputError(f"shard: got {part}/{parts}, expected I/N with I from 0 to N - 1")
    return part, parts


def _apart(job: Path, out: Path) -> None:
    """Refuse results among the clips of a folder: the next run would take them for clips."""
    if job.is_dir() and out.resolve().is_relative_to(job.resolve()):
        raise InputError(f"{out}: is in the job's folder {job}, expected a folder elsewhere")


def _execution(session: Disentangler) -> dict[str, Any]:
    """Return how a session runs, as far as bytes depend on it."""
    report = getattr(session, "report", None)
    about = {} if report is None else dict(report())
    about.pop("graphs", None)
    about["device"] = session._like().device.type
    return about
