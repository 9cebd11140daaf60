"""diffsda swap: clips with the static factor of some and the dynamics of others."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffsda.cli.options import WithSolver, parse


@dataclass(frozen=True, kw_only=True)
class Options(WithSolver):
    """Give clips the dynamics of other clips."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, or a run folder."""
    static: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="STATIC")]
    """Clips that lend their static factor: a file, or the name of a data set."""
    dynamic: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DYNAMIC")]
    """Clips that lend their dynamics: as many, or one of either, or any number with --grid."""
    out: Path
    """File for the swapped clips, in the units they came in."""
    noise: Literal["auto", "dynamic", "static", "fresh", "shared"] = "auto"
    """Where the start noise comes from: the dynamics donor's or the static donor's stochastic code, or drawn (fresh;
    one frame's for all: shared). auto is the system's own way: dynamic for diffsda, shared for divid; others draw none.
    """
    grid: bool = False
    """Swap every static donor with every dynamics donor."""
    figure: Path | None = None
    """Draw the swaps of the first few donors as a PNG grid."""
    json: bool = False
    """Print JSON instead of the path: out, clips, the start noise, and how the model was run."""


def run(argv: list[str]) -> int:
    """Swap clips, write them, and draw a grid if asked."""
    options = parse(Options, argv, "swap", "Give clips the dynamics of other clips.")
    from diffsda.cli.clips import check_seed, fresh_figure, fresh_file, open_session
    from diffsda.cli.progress import solver_bar
    from diffsda.cli.units import Units
    from diffsda.data.arrays import write
    from diffsda.tasks.swap import pairs, swap

    fresh_file(options.out, overwrite=options.overwrite)
    check_seed(options.seed)
    if options.figure is not None:
        fresh_figure(options.figure, overwrite=options.overwrite)
    session = open_session(options.model, options)
    units = Units.of(session, options)
    static = units.open(options.static, options.split)
    dynamic = units.open(options.dynamic, options.split)
    giver, taker = pairs(len(static), len(dynamic), grid=options.grid)
    noise = session.policy if options.noise == "auto" else options.noise
    solver = {"noise": noise, "steps": options.steps, "seed": options.seed, "batch": options.batch}
    with solver_bar("swap") as track:
        x = swap(session, static.select(giver), dynamic.select(taker), track=track, **solver)  # type: ignore[arg-type]
    lengths = None if dynamic.lengths is None else dynamic.lengths[taker]
    arrays = {"x": units.back(x, lengths), "static_donor": giver, "dynamic_donor": taker}
    if lengths is not None:
        arrays["lengths"] = lengths
    write(options.out, {"x": arrays["x"]} if options.out.suffix == ".npy" else arrays, overwrite=options.overwrite)
    about = {"out": str(options.out), "clips": len(x), "noise": noise, "execution": session.report()}
    print(json.dumps(about) if options.json else options.out)
    if options.figure is not None:
        from diffsda.report.swaps import draw_swaps

        draw_swaps(
            session,
            static,
            dynamic,
            options.figure,
            noise=noise,
            steps=options.steps,
            seed=options.seed,
            back=units.back,
            unit="whitened" if options.as_is else "value",
            step=session.provenance.get("step", ""),
            execution=session.report(),
        )
        # Results are on stdout; beside JSON a path would spoil it.
        print(options.figure, file=sys.stderr if options.json else sys.stdout)
    return 0
