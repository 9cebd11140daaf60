"""diffsda interpolate: walk from one clip's factors to another's."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffsda.cli.options import WithSolver, parse
from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.disentangler import Disentangler
    from diffsda.tasks.interpolate import Walk

ROWS = 18
"""Clips drawn at most, unless one walk has more."""


@dataclass(frozen=True, kw_only=True)
class Options(WithSolver):
    """Walk from clips A to clips B: what lies between their factors, with start noise between theirs."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, or a run folder."""
    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Clips to start from: a file, a prepared folder, or the name of a data set."""
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """Clips to arrive at; they may be of the same set."""
    out: Path
    """File (.npz or .safetensors): x (pairs * clips of a walk, V, ...), with pair, step, share and length of each."""
    a_rows: tuple[int, ...] = (0,)
    """Which clips of A, counted from 0."""
    b_rows: tuple[int, ...] = (1,)
    """Which clips of B: as many, or one of either."""
    steps_between: int = 7
    """Clips between the two ends."""
    factor: Literal["static", "dynamic", "both"] = "both"
    """What moves; the rest stays A's."""
    path: Literal["linear", "slerp"] = "linear"
    """Straight, or along the arc: for factors of one length whose direction says what they mean."""
    noise: Literal["auto", "mixed", "a", "b", "fresh"] = "auto"
    """Start noise: A's or B's stochastic code, mixed along the arc, or drawn; auto is a for --factor static, else
    mixed."""
    figure: Path | None = None
    """Draw the walks of the first pairs as a PNG."""
    json: bool = False
    """Print JSON instead of the path: out, pairs, shares, lengths, and how the model was run."""


def run(argv: list[str]) -> int:
    """Walk from A to B, write the clips, and draw the first walks if asked."""
    options = parse(Options, argv, "interpolate", "Walk from one clip's factors to another's.")
    if options.out.suffix == ".npy":
        raise InputError(f"--out: got {options.out}, expected .npz or .safetensors: there are several arrays to keep")
    if options.steps_between < 0:
        raise InputError(f"--steps-between: got {options.steps_between}, expected 0 or more")
    from diffsda.cli.clips import check_seed, fresh_figure, fresh_file, open_session
    from diffsda.cli.priors import drawable
    from diffsda.cli.progress import solver_bar
    from diffsda.cli.units import Units
    from diffsda.data.arrays import write
    from diffsda.tasks.interpolate import interpolate
    from diffsda.tasks.swap import pairs

    fresh_file(options.out, overwrite=options.overwrite)
    check_seed(options.seed)
    if options.figure is not None:
        fresh_figure(options.figure, overwrite=options.overwrite)
    session = open_session(options.model, options)
    units = Units.of(session, options)
    if options.figure is not None:
        drawable(units)
    held = units.open(options.a, options.split)
    a = _rows(held, options.a_rows, "--a-rows")
    b = _rows(held if options.b == options.a else units.open(options.b, options.split), options.b_rows, "--b-rows")
    first, last = pairs(len(a), len(b))
    with solver_bar("interpolate") as track:
        walk = interpolate(
            session,
            a.select(first),
            b.select(last),
            between=options.steps_between,
            factor=options.factor,
            path=options.path,
            noise=options.noise,
            steps=options.steps,
            seed=options.seed,
            batch=options.batch,
            track=track,
        )
    x = units.back(walk.x.reshape(-1, *walk.x.shape[2:]), walk.lengths.ravel())
    write(options.out, _arrays(x, walk), overwrite=options.overwrite)
    about: dict[str, Any] = {
        "out": str(options.out),
        "factor": options.factor,
        "path": options.path,
        "noise": options.noise,
        "pairs": [[options.a_rows[i], options.b_rows[j]] for i, j in zip(first, last, strict=True)],
        "shares": [round(float(t), 6) for t in walk.shares],
        "lengths": walk.lengths.tolist(),
        "execution": session.report(),
    }
    print(json.dumps(about) if options.json else options.out)
    if options.figure is not None:
        _draw(options, x, walk, session)
        # Results are on stdout; beside JSON a path would spoil it.
        print(options.figure, file=sys.stderr if options.json else sys.stdout)
    return 0


def _rows(clips: Clips, rows: tuple[int, ...], option: str) -> Clips:
    """Return the clips of these rows.

    Raises: InputError for a row that is not there, naming the option.
    """
    bad = [row for row in rows if not 0 <= row < len(clips)]
    if bad or not rows:
        raise InputError(
            f"{option}: got {bad[0] if bad else 'none'}, expected rows 0 to {len(clips) - 1} of {clips.name}"
        )
    return clips.select(list(rows))


def _arrays(x: Any, walk: Walk) -> dict[str, Any]:
    """Name what is written: the clips, and where on which walk each is."""
    import numpy as np

    pair, step = (index.ravel() for index in np.indices(walk.lengths.shape))
    return {"x": x, "lengths": walk.lengths.ravel(), "pair": pair, "step": step, "share": walk.shares[step]}


def _draw(options: Options, x: Any, walk: Walk, session: Disentangler) -> None:
    """Draw as many walks as there is room for, one at least, each from top to bottom."""
    from diffsda.report.canvas import save
    from diffsda.report.strip import strip

    assert options.figure is not None
    clips = walk.lengths.shape[1]
    few = clips * max(1, min(len(walk.lengths), ROWS // clips))
    titles = [f"pair {i // clips}, {walk.shares[i % clips]:.3g} of the way" for i in range(few)]
    # Pixels are drawn as pixels: a few that a model leaves far outside would wash out all others.
    limits = (-1.0, 1.0) if x.ndim == 5 else None
    save(
        strip(x[:few], walk.lengths.ravel()[:few], titles=titles, limits=limits),
        options.figure,
        recipe=session.recipe.digest,
        seed=options.seed,
        factor=options.factor,
        along=options.path,
        noise=options.noise,
        execution=session.report(),
    )
