"""diffsda train-prior: a prior over the factors of a model's training clips."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from diffsda.cli.options import WithModel, parse
from diffsda.errors import InputError
from diffsda.prior.recipe import Fit, Prior

if TYPE_CHECKING:
    from diffsda.data.stream import Stream
    from diffsda.factors import Factors


@dataclass(frozen=True, kw_only=True)
class Options(WithModel):
    """Train a prior: the model's training clips are encoded once, and a small diffusion model learns their factors."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, or a run folder."""
    data: str
    """The clips the model was trained on: a file, a prepared folder, or the name of a data set."""
    split: str = "train"
    """Part of a named data set or a prepared folder."""
    out: Path | None = None
    """File for the prior; left open, prior.safetensors in the run folder, where generate and traverse look for it."""
    frames: int | None = None
    """Take the first V frames of every clip that has as many; needed where clips vary in length."""
    resume: bool = False
    """Go on with a training that was stopped; say the same otherwise."""
    log_every: int = 20
    """Steps between records in the log."""
    save_every: int = 500
    """Steps between saved states."""
    until: int | None = None
    """Stop and save after this step, as if interrupted; the budget stays what it is."""
    dry_run: bool = False
    """Print the settings and stop."""
    json: bool = False
    """Print JSON instead of the path: out, sizes, parameters, steps, the last loss."""
    prior: Prior = field(default_factory=Prior)
    fit: Fit = field(default_factory=Fit)


def run(argv: list[str]) -> int:
    """Train a prior and print its file."""
    options = parse(tyro.conf.AvoidSubcommands[Options], argv, "train-prior", "Train a prior over a model's factors.")
    if options.dry_run:
        print(json.dumps({"prior": options.prior.to_dict(), "fit": options.fit.to_dict()}, indent=1))
        return 0
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "train-prior: got several processes, expected one: a prior is small; start it without torchrun"
        )
    from diffsda.cli.priors import owner, place
    from diffsda.cli.progress import training_bar
    from diffsda.prior.latent import parameters
    from diffsda.train.prior import train_prior

    out = place(options.model, options.out)
    if out.suffix != ".safetensors":
        raise InputError(f"--out: got {out}, expected a file ending in .safetensors")
    if out.exists() and not (options.overwrite or options.resume):
        raise InputError(f"--out: {out} exists already, expected a new file (or --overwrite)")
    whose = owner(options.model)
    factors = _encode(options)
    latest: dict[str, float] = {}

    def watch(step: int, total: int, values: dict[str, float]) -> None:
        latest.update(values)
        say(step, total, values)

    with training_bar("prior", "codes") as say:
        done = train_prior(
            options.prior,
            options.fit,
            factors,
            out,
            owner=whose,
            resume=options.resume,
            overwrite=options.overwrite,
            device=options.device,
            log_every=options.log_every,
            save_every=options.save_every,
            until=options.until,
            progress=watch,
            tell=lambda words: print(f"warning: {words}", file=sys.stderr),
        )
    if not done.finished:
        how = f"signal {done.signal}" if done.signal is not None else "--until"
        print(f"stopped by {how} at step {done.step}; go on with the same command and --resume", file=sys.stderr)
        return 0 if done.signal is None else 128 + done.signal
    sizes = done.prior.sizes
    about: dict[str, Any] = {
        "out": str(out),
        "clips": len(factors),
        "static": sizes.static,
        "dynamic": sizes.dynamic,
        "frames": sizes.frames,
        "parameters": parameters(options.prior, sizes),
        "steps": done.step,
        "loss": latest.get("loss"),
    }
    print(json.dumps(about) if options.json else out)
    return 0


def _encode(options: Options) -> Factors:
    """Encode the training clips once, a batch at a time."""
    from diffsda.cli.clips import open_session
    from diffsda.cli.progress import counting
    from diffsda.cli.units import Units
    from diffsda.data.clip import Clips
    from diffsda.data.registry import open_data
    from diffsda.tasks.pool import cut, gather
    from diffsda.train.data import fits

    session = open_session(options.model, options)
    as_is = options.as_is
    if options.first_stage is not None:
        data: Clips | Stream = Units.of(session, options).open(options.data, options.split)
        as_is = True
    else:
        data = open_data(options.data, options.split, session.recipe.clips)
    if isinstance(data, Clips):
        fits(data, session.recipe)
        data, short = cut(data, options.frames)
        if short:
            print(f"left out {short} clips of fewer than {options.frames} frames", file=sys.stderr)
    elif options.frames not in (None, data.shape[0]):
        raise InputError(
            f"--frames: got {options.frames} for {options.data}, whose clips are taken with {data.shape[0]} frames"
        )
    with counting() as watch:
        return gather(
            session, data, as_is=as_is, batch=options.batch, watch=lambda p, n: watch(p, n, "batches encoded")
        )
