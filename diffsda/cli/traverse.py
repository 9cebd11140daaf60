"""diffsda traverse: walk along the principal components of a factor."""

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
    import numpy as np
    from torch import Tensor

    from diffsda.cli.units import Units
    from diffsda.disentangler import Disentangler
    from diffsda.factors import Factors
    from diffsda.tasks.batches import Track
    from diffsda.tasks.own_prior import FactorPrior
    from diffsda.tasks.traverse import Components

ROWS = 8
"""Rows of the sheet at most."""


@dataclass(frozen=True, kw_only=True)
class Options(WithSolver):
    """Find what a factor varies in, and walk along it from clips that stay as they are otherwise."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, or a run folder."""
    out: Path
    """File (.npz or .safetensors): x (clips * components * alphas, V, ...), with clip, component and alpha of each."""
    data: str | None = None
    """Clips to start from: a file, a prepared folder, or the name of a data set; left open, samples of the prior."""
    prior: Path | None = None
    """The model's prior; left open, prior.safetensors in the run folder if it is there; own is the
    system's own prior, where it has one, and taken where there is neither a file nor --data."""
    pool: Literal["auto", "prior", "data"] = "auto"
    """Where components are found: in samples of the prior (the paper), or in the encoded clips of --data; auto is the
    prior where there is one."""
    samples: int | None = None
    """Samples of the prior to find components in; left open, 32768, or 2048 of a system's own prior."""
    factor: Literal["static", "dynamic"] = "static"
    """What to walk in; dynamic factors are moved alike in every frame."""
    components: int = 3
    """Components K, those that explain most first."""
    alphas: tuple[float, ...] = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
    """How far to go; 0 is the clip's reconstruction."""
    count: int = 4
    """Clips to walk from, the first ones."""
    prior_steps: int | None = None
    """Steps of the prior's sampler; left open, the prior's own number."""
    figure: Path | None = None
    """Draw the walks of the first clips as a PNG sheet."""
    json: bool = False
    """Print JSON instead of the path: out, explained variance, the pool, and how the model was run."""


def run(argv: list[str]) -> int:
    """Walk along components, write the clips, and draw a sheet if asked."""
    options = parse(Options, argv, "traverse", "Walk along the principal components of a factor.")
    if options.out.suffix == ".npy":
        raise InputError(f"--out: got {options.out}, expected .npz or .safetensors: there are several arrays to keep")
    for name in ("count", "components", "samples"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}: got {getattr(options, name)}, expected at least 1")
    from diffsda.cli.clips import check_seed, fresh_figure, fresh_file, open_session
    from diffsda.cli.priors import drawable
    from diffsda.cli.progress import solver_bar
    from diffsda.cli.units import Units
    from diffsda.data.arrays import write
    from diffsda.tasks.traverse import traverse

    fresh_file(options.out, overwrite=options.overwrite)
    check_seed(options.seed)
    if options.figure is not None:
        fresh_figure(options.figure, overwrite=options.overwrite)
    session = open_session(options.model, options)
    units = Units.of(session, options)
    if options.figure is not None:
        drawable(units)
    prior = _prior(options, session)
    with solver_bar("traverse") as track:
        f, start, lengths, found = _prepare(options, session, units, prior, track)
        x = traverse(
            session,
            f,
            start,
            found,
            options.alphas,
            lengths=lengths,
            steps=options.steps,
            seed=options.seed,
            batch=options.batch,
            track=track,
        )
    clips, count, ways = x.shape[:3]
    repeated = None if lengths is None else lengths.repeat(count * ways)
    x = units.back(x.reshape(-1, *x.shape[3:]), repeated)
    write(options.out, _arrays(x, repeated, (clips, count, ways), options, found), overwrite=options.overwrite)
    about: dict[str, Any] = {
        "out": str(options.out),
        "factor": options.factor,
        "clips": clips,
        "alphas": list(options.alphas),
        "explained_variance": [round(float(v), 6) for v in found.explained],
        "pool": {"from": "data" if prior is None else "prior", "vectors": found.pool, "width": len(found.mean)},
        "execution": session.report(),
    }
    print(json.dumps(about) if options.json else options.out)
    if options.figure is not None:
        _draw(options, x.reshape(clips, count, ways, *x.shape[1:]), lengths, found, session, about["pool"]["from"])
        # Results are on stdout; beside JSON a path would spoil it.
        print(options.figure, file=sys.stderr if options.json else sys.stdout)
    return 0


def _prior(options: Options, session: Disentangler) -> FactorPrior | None:
    """Return the prior components are found in, or None for the clips' own factors.

    Raises: InputError if there is neither, or the prior is another model's.
    """
    from diffsda.cli.priors import open_drawing, place

    if options.pool == "data" or (
        options.pool == "auto" and options.prior is None and not place(options.model, None).is_file()
    ):
        if options.data is None and options.pool == "auto" and session.recipe.system != "diffsda":
            return open_drawing(options.model, None, session)
        if options.data is None:
            raise InputError(
                f"--data: got nothing and no prior ({place(options.model, None)} is not there), expected clips, or "
                f"a prior from `diffsda train-prior {options.model} --data ...`"
            )
        return None
    return open_drawing(options.model, options.prior, session)


def _prepare(
    options: Options, session: Disentangler, units: Units, prior: FactorPrior | None, track: Track
) -> tuple[Factors, Tensor, np.ndarray | None, Components]:
    """Return where to start from (factors, start noise, lengths) and the components to walk along."""
    from diffsda.edm.noise import SampleNoise
    from diffsda.tasks.generate import frame_shape
    from diffsda.tasks.own_prior import pool_size
    from diffsda.tasks.pool import gather
    from diffsda.tasks.traverse import components, starts

    clips = None if options.data is None else units.open(options.data, options.split)
    if prior is not None:
        drawn = prior.sample(pool_size(prior, options.samples), options.seed, steps=options.prior_steps, track=track)
        within = None
    else:
        assert clips is not None
        drawn, within = gather(session, clips, as_is=True, batch=options.batch), clips.lengths
    found = components(drawn, options.factor, options.components, lengths=within)
    if clips is not None:
        few = clips.select(slice(0, options.count))
        return *starts(session, few, steps=options.steps, batch=options.batch, track=track), few.lengths, found
    assert prior is not None
    f = prior.sample(options.count, options.seed, steps=options.prior_steps)
    shape = (options.count, f.frames, *frame_shape(session))
    shared = session.shared_noise
    return f, SampleNoise(options.seed, shape, like=session._like(), shared=shared)(), None, found


def _arrays(
    x: np.ndarray, lengths: np.ndarray | None, sizes: tuple[int, int, int], options: Options, found: Components
) -> dict[str, Any]:
    """Name what is written: the clips, what each of them is, and the components."""
    import numpy as np

    clip, component, alpha = (index.ravel() for index in np.indices(sizes))
    arrays = {"x": x, "clip": clip, "component": component, "alpha": np.asarray(options.alphas)[alpha]}
    if lengths is not None:
        arrays["lengths"] = lengths
    parts = ("mean", "std", "directions", "explained")
    return arrays | {f"components_{name}": getattr(found, name) for name in parts}


def _draw(
    options: Options, x: np.ndarray, lengths: np.ndarray | None, found: Components, session: Disentangler, prior: str
) -> None:
    """Draw every component of as many clips as there is room for, of one at least."""
    from diffsda.report.canvas import save
    from diffsda.report.traversal import sheet

    assert options.figure is not None
    clips = max(1, min(len(x), ROWS // x.shape[1]))
    rows = [(clip, k) for clip in range(clips) for k in range(x.shape[1])][:ROWS]
    walks = x[tuple(map(list, zip(*rows)))]
    titles = [f"clip {clip}, {options.factor} {k + 1} ({found.explained[k]:.0%})" for clip, k in rows]
    save(
        sheet(
            walks,
            options.alphas,
            lengths=None if lengths is None else [int(lengths[clip]) for clip, _ in rows],
            titles=titles,
        ),
        options.figure,
        recipe=session.recipe.digest,
        seed=options.seed,
        factor=options.factor,
        pool=prior,
    )
