"""diffsda reconstruct: clips -> factors -> clips."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffsda.cli.options import WithSolver, parse


@dataclass(frozen=True, kw_only=True)
class Options(WithSolver):
    """Encode clips and sample them back."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, or a run folder."""
    input: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CLIPS")]
    """Clips: a .npz, .npy or .safetensors file, or the name of a data set."""
    out: Path
    """File for the clips, in the units they came in."""
    noise: Literal["own", "fresh"] = "own"
    """Start from the clips' own stochastic code, or from fresh noise."""
    figure: Path | None = None
    """Draw the first few clips and their reconstructions as a PNG."""
    json: bool = False
    """Print JSON instead of the path: out, mse, clips, and how the model was run."""


def run(argv: list[str]) -> int:
    """Reconstruct clips, write them and say how close they are."""
    options = parse(Options, argv, "reconstruct", "Encode clips and sample them back.")
    from diffsda.cli.clips import check_seed, fresh_figure, fresh_file, open_session
    from diffsda.cli.progress import solver_bar
    from diffsda.cli.units import Units
    from diffsda.data.arrays import write
    from diffsda.evaluate.reconstruction import mse
    from diffsda.tasks.reconstruct import reconstruct

    fresh_file(options.out, overwrite=options.overwrite)
    check_seed(options.seed)
    if options.figure is not None:
        fresh_figure(options.figure, overwrite=options.overwrite)
    session = open_session(options.model, options)
    units = Units.of(session, options)
    clips = units.open(options.input, options.split)
    with solver_bar("reconstruct") as track:
        x = reconstruct(
            session,
            clips,
            noise=options.noise,
            steps=options.steps,
            seed=options.seed,
            batch=options.batch,
            track=track,
        )
    error = mse(x, clips.x, clips.lengths)
    arrays = {"x": units.back(x, clips.lengths)}
    if clips.lengths is not None and options.out.suffix != ".npy":
        arrays["lengths"] = clips.lengths
    write(options.out, arrays, overwrite=options.overwrite)
    print(f"mean squared error {error:.3g} in the model's units", file=sys.stderr)
    about = {"out": str(options.out), "mse": error, "clips": len(clips), "execution": session.report()}
    print(json.dumps(about) if options.json else options.out)
    if options.figure is not None:
        from diffsda.report.reconstructions import draw_reconstructions

        pixels = units.space is not None
        draw_reconstructions(
            dataclasses.replace(clips, x=units.back(clips.x, clips.lengths)) if pixels else clips,
            arrays["x"] if pixels else x,
            options.figure,
            unit="value" if pixels else "model's units",
            recipe=session.recipe.digest,
            seed=options.seed,
            execution=session.report(),
        )
        print(options.figure, file=sys.stderr)
    return 0
