"""diffsda infer: a job of many clips, in parts, with stops, to a folder of results."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffsda.cli.options import WithModel, parse
from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.disentangler import Disentangler
    from diffsda.export.infer import Task
    from diffsda.export.infer.pixels import Pixels
    from diffsda.recipe import Clips as Form
    from diffsda.tasks.own_prior import FactorPrior


@dataclass(frozen=True, kw_only=True)
class Options:
    """Do a task for every clip of a job. What is there is not done again: to go on, give the same command."""

    job: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="JOB")]
    """A folder of .npz, .npy or .safetensors files, each one clip x (V, ...) or a batch x (N, V, ...), of videos,
    recordings or tables; or a JSON-lines file with {"key", "path"} a line, {"key", "static", "dynamic"} for swaps; for
    generate a number of clips, or {"key"} a line."""
    model: str
    """A model file, a run folder, or an exported folder."""
    task: Literal["encode", "reconstruct", "swap", "generate", "traverse"]
    """What to do with each clip."""
    out: Path
    """Folder for the results: clips/, results.jsonl, failed.jsonl."""
    seed: int = 0
    """A clip draws from a seed made of this and its key."""
    steps: int | None = None
    """Solver steps T; left open, the model's."""
    tile: int | None = None
    """Clips worked on at once; left open, what suits the model and the device."""
    noise: Literal["own", "fresh", "dynamic", "static", "shared", "recipe"] | None = None
    """Start noise. reconstruct: own (usual) or fresh. swap: dynamic, static, fresh or shared; usual is the system's own
    way, dynamic for diffsda. generate: recipe (usual), fresh or shared."""
    first_stage: str | None = None
    """For a model of latents: the first stage they were made with (a file, a run, or the exported folder), so that
    clips are pixels here; results are bytes."""
    prior: Path | None = None
    """generate, traverse: the model's prior; left open, prior.safetensors in the run folder, or the exported one,
    or else the system's own (the word own) where it has one."""
    prior_steps: int | None = None
    """generate: steps of the prior's sampler; left open, the prior's own number."""
    factor: Literal["static", "dynamic"] = "static"
    """traverse: what to walk in; dynamic factors are moved alike in every frame."""
    component: int = 1
    """traverse: which component to walk along, from 1, those that explain most first."""
    alphas: tuple[float, ...] = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
    """traverse: how far to go; 0 is the clip's reconstruction."""
    basis: Path | None = None
    """traverse: a file with components, as `diffsda traverse` writes it; left open, found in samples of the prior."""
    samples: int | None = None
    """traverse: samples of the prior to find components in; left open, 32768, or 2048 of a system's own prior."""
    write: Literal["npz", "mp4"] = "npz"
    """What results are kept as; mp4 is for clips of pictures, a traversal's side by side."""
    fps: float = 25.0
    """Frames a second of an mp4."""
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
    runtime: Literal["auto", "onnxruntime", "tensorrt"] = "auto"
    """Of an exported folder: what runs it. auto is onnxruntime; tensorrt takes the engines in the folder."""
    as_is: bool = False
    """The clips are in the model's units already: do not whiten them, nor undo it."""
    json: bool = False
    """Print a summary as JSON instead of the folder."""


def run(argv: list[str]) -> int:
    """Work through a job; return 1 if a clip failed, 128 and the signal if one stopped it."""
    options = parse(Options, argv, "infer", "Do a task for every clip of a job.")
    from diffsda.cli.clips import open_session
    from diffsda.cli.progress import clip_bar
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
        write=options.write,
        fps=options.fps,
    )
    # Before a large model is read.
    job = read_job(options.job, TASKS[options.task].fields, _form(options.model))
    how = WithModel(
        device=options.device,
        precision=options.precision,
        route=options.route,
        layout=options.layout,
        runtime=options.runtime,
        first_stage=options.first_stage,
        as_is=options.as_is,
    )
    others: list[Any] = []
    try:
        with clip_bar(f"infer {options.task}") as say:
            session = open_session(options.model, how)
            _get_to_know(others)
            digest, pixels = _digest(options.model), _pixels(session, how)
            task = _task(session, options)
            summary = infer(session, job, task, options.out, settings, model=digest, pixels=pixels, progress=say)
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
        word = "interrupted" if summary.signal == signal.SIGINT else "terminated"
        print(f"{word} with {left} clips to do; the same command goes on", file=sys.stderr)
        return 128 + summary.signal
    return 1 if summary.failed else 0


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None:
        raise InputError(f"--shard: got {text!r}, expected I/N, part I of N parts counted from 0")
    return int(found[1]), int(found[2])


def _form(model: str) -> Form | None:
    """Return what a model sees, from its head alone; None where it cannot be read, which opening it will tell."""
    from diffsda.errors import DiffSDAError
    from diffsda.export import manifest
    from diffsda.header import newest, read_header
    from diffsda.systems import recipe_from_dict

    try:
        if (Path(model) / manifest.NAME).is_file():
            return manifest.read(model).recipe.clips
        about = read_header(newest(model)).ours()
        return None if about is None else recipe_from_dict(about["recipe"]).clips
    except (DiffSDAError, KeyError, TypeError, AttributeError):
        return None


def _pixels(session: Disentangler, how: WithModel) -> Pixels | None:
    """Return the first stage that was asked for, around a session."""
    from diffsda.cli.units import Units
    from diffsda.export import manifest
    from diffsda.export.infer.pixels import Pixels
    from diffsda.export.parts import ExportedStage, PreparedStage
    from diffsda.export.session import ExportedSession
    from diffsda.firststage.latents import LatentSpace
    from diffsda.inference.execution import TYPES

    if how.first_stage is None:
        return None
    if not (Path(how.first_stage) / manifest.NAME).is_file():
        space = Units.of(session, how).space
    elif not isinstance(session, ExportedSession) or session.folder.resolve() != Path(how.first_stage).resolve():
        raise InputError(f"--first-stage: got {how.first_stage}, an export, expected it to be that of --model")
    else:
        tell = lambda words: print(f"warning: {words}", file=sys.stderr)  # noqa: E731
        space = LatentSpace(ExportedStage(session), session.whitening, tell=tell)
    assert space is not None
    precision = session.report()["precision"]
    if space.first_stage.device.type == "cuda" and precision != "float32" and not isinstance(session, ExportedSession):
        stage: Any = space.first_stage
        space = LatentSpace(PreparedStage(stage, TYPES[precision]), space.whitening, tell=space.tell)
    return Pixels(space, session.recipe)


def _task(session: Disentangler, options: Options) -> Task:
    """Return the task with what it alone needs."""
    from diffsda.export.infer.basis import from_prior, read_basis
    from diffsda.export.infer.tasks import task_named
    from diffsda.tasks.own_prior import pool_size

    own: dict[str, Any] = {}
    if options.task == "generate":
        prior, digest = _prior(session, options)
        own = {"prior": prior, "prior_digest": digest, "prior_steps": options.prior_steps}
    elif options.task == "traverse":
        recipe = session.recipe
        if options.basis is not None:
            width = recipe.static if options.factor == "static" else recipe.dynamic
            basis = read_basis(options.basis, options.factor, width)
        else:
            prior, _ = _prior(session, options)
            many = pool_size(prior, options.samples)
            basis = from_prior(prior, options.factor, options.component, samples=many, seed=options.seed)
        own = {"basis": basis, "component": options.component, "alphas": options.alphas}
    return task_named(options.task, session, noise=options.noise, steps=options.steps, **own)


def _prior(session: Disentangler, options: Options) -> tuple[FactorPrior, str]:
    """Return the prior of a model, and a digest that names it."""
    from diffsda.cli.priors import open_drawing, place
    from diffsda.export import manifest
    from diffsda.export.parts import ExportedPrior
    from diffsda.export.session import ExportedSession
    from diffsda.tasks.own_prior import OWN, OwnPrior

    if options.prior is None and isinstance(session, ExportedSession) and session.manifest.prior is not None:
        return ExportedPrior(session), session.manifest.graphs["prior"].digest
    prior = open_drawing(options.model, options.prior, session)
    if isinstance(prior, OwnPrior):
        return prior, f"{OWN}, {prior.frames} frames"
    return prior, manifest.sha256(place(options.model, options.prior))


def _digest(model: str) -> str:
    """Return the SHA-256 of a model file, or of an export's manifest: a name for the model."""
    from diffsda.export import manifest
    from diffsda.header import newest

    about = Path(model) / manifest.NAME
    return manifest.sha256(about if about.is_file() else newest(model))


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
