"""diffsda generate: clips from the prior, or real clips with one factor from it."""

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
    from diffsda.cli.units import Units
    from diffsda.disentangler import Disentangler
    from diffsda.tasks.batches import Track
    from diffsda.tasks.own_prior import FactorPrior

MOST = 6
"""Clips drawn."""


@dataclass(frozen=True, kw_only=True)
class Options(WithSolver):
    """Make clips whose factors come from the model's prior; with --swap, one of the factors of real clips only."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, or a run folder."""
    out: Path
    """File for the clips, in the units of the clips the model was trained on."""
    prior: Path | None = None
    """The model's prior; left open, prior.safetensors in the run folder, or else the system's own (the word own) where
    it has one."""
    count: int | None = None
    """Clips to make; left open, 16, or with --swap one for each clip of --data."""
    swap: Literal["static", "dynamic"] | None = None
    """Replace this factor of the clips in --data by one from the prior."""
    data: str | None = None
    """Clips to swap a factor of: a file, a prepared folder, or the name of a data set."""
    frames: int | None = None
    """With --swap: take the first V frames of the clips in --data; for clips longer than what the prior was trained on.
    Else, for a system's own prior: frames of the clips to make; left open, those of the recipe."""
    noise: Literal["auto", "own", "fresh", "shared"] = "auto"
    """Start noise: drawn (fresh), one frame's for all (shared), or with --swap the clip's own stochastic code. Auto is
    what the recipe says; own for --swap static, fresh for --swap dynamic."""
    prior_steps: int | None = None
    """Steps of the prior's sampler; left open, the prior's own number."""
    rule: Literal["ddim", "ddpm", "published"] | None = None
    """How the prior is sampled; left open, as the prior says."""
    figure: Path | None = None
    """Draw the first few clips as a PNG; with --swap, each real one above its swap."""
    json: bool = False
    """Print JSON instead of the path: out, clips, prior, and how the model was run."""


def run(argv: list[str]) -> int:
    """Generate clips, write them, and draw some if asked."""
    options = parse(Options, argv, "generate", "Make clips whose factors come from the model's prior.")
    _check(options)
    from diffsda.cli.clips import check_seed, fresh_figure, fresh_file, open_session
    from diffsda.cli.priors import drawable, open_drawing, prior_words
    from diffsda.cli.progress import solver_bar
    from diffsda.cli.units import Units
    from diffsda.data.arrays import write
    from diffsda.tasks.own_prior import OwnPrior, called

    fresh_file(options.out, overwrite=options.overwrite)
    check_seed(options.seed)
    if options.figure is not None:
        fresh_figure(options.figure, overwrite=options.overwrite)
    session = open_session(options.model, options)
    # A swap's clips say how many frames are drawn, once they are read.
    prior = open_drawing(options.model, options.prior, session, options.frames if options.swap is None else 2)
    if options.swap is None and options.frames is not None and not isinstance(prior, OwnPrior):
        raise InputError(
            "--frames: clips from the prior have the prior's number of frames; expected it with --swap only"
        )
    units = Units.of(session, options)
    if options.figure is not None:
        drawable(units)
    make = _generate if options.swap is None else _swap
    with solver_bar("generate") as track:
        arrays, shown = make(session, prior, units, options, track)
    if options.out.suffix == ".npy":
        arrays = {"x": arrays["x"]}
    write(options.out, arrays, overwrite=options.overwrite)
    about = {
        "out": str(options.out),
        "clips": len(arrays["x"]),
        "prior": prior_words(options.model, options.prior, prior),
        "swap": options.swap,
        "execution": session.report(),
    }
    print(json.dumps(about) if options.json else options.out)
    if options.figure is not None:
        from diffsda.report.canvas import save
        from diffsda.report.strip import strip

        save(
            strip(shown["x"], shown.get("lengths"), titles=shown["titles"]),
            options.figure,
            recipe=session.recipe.digest,
            seed=options.seed,
            prior=called(prior),
            swap=options.swap,
            execution=session.report(),
        )
        # Results are on stdout; beside JSON a path would spoil it.
        print(options.figure, file=sys.stderr if options.json else sys.stdout)
    return 0


def _check(options: Options) -> None:
    """Refuse options that do not go together, before any work is done."""
    if options.count is not None and options.count < 1:
        raise InputError(f"--count: got {options.count}, expected at least 1")
    if (options.swap is None) != (options.data is None):
        given, missing = ("--data", "--swap") if options.swap is None else ("--swap", "--data")
        raise InputError(
            f"{missing}: got nothing, expected it beside {given}: a swap replaces one factor of real clips"
        )
    if options.swap is None and options.noise == "own":
        raise InputError("--noise: got own, expected fresh or shared: clips that are all new have no stochastic code")


def _generate(
    session: Disentangler, prior: FactorPrior, units: Units, options: Options, track: Track
) -> tuple[dict[str, Any], dict[str, Any]]:
    from diffsda.tasks.generate import generate

    count = 16 if options.count is None else options.count
    f = prior.sample(count, options.seed, steps=options.prior_steps, rule=options.rule, track=track)
    x = generate(
        session,
        f,
        noise="recipe" if options.noise in ("auto", "own") else options.noise,  # type: ignore[arg-type]
        steps=options.steps,
        seed=options.seed,
        batch=options.batch,
        track=track,
    )
    x = units.back(x)
    arrays = {"x": x, "static": f.static.cpu().numpy(), "dynamic": f.dynamic.cpu().numpy()}
    few = min(MOST, count)
    return arrays, {"x": x[:few], "titles": [f"seed {options.seed + i}" for i in range(few)]}


def _swap(
    session: Disentangler, prior: FactorPrior, units: Units, options: Options, track: Track
) -> tuple[dict[str, Any], dict[str, Any]]:
    import numpy as np

    from diffsda.tasks.generate import unconditional_swap
    from diffsda.tasks.own_prior import OwnPrior
    from diffsda.tasks.pool import cut

    assert options.data is not None
    assert options.swap is not None
    clips = units.open(options.data, options.split)
    if options.frames is not None:
        clips, _ = cut(clips, options.frames)
    if options.count is not None:
        clips = clips.select(slice(0, options.count))
    if isinstance(prior, OwnPrior):
        prior = OwnPrior(prior.model, clips.frames)
    x = unconditional_swap(
        session,
        prior,
        clips,
        options.swap,
        noise=options.noise,
        steps=options.steps,
        prior_steps=options.prior_steps,
        rule=options.rule,
        seed=options.seed,
        batch=options.batch,
        track=track,
    )
    x = units.back(x, clips.lengths)
    arrays: dict[str, Any] = {"x": x}
    if clips.lengths is not None:
        arrays["lengths"] = clips.lengths
    arrays |= {name: label for name, label in clips.labels.items() if name not in arrays}
    few = slice(0, MOST // 2)
    real = units.back(clips.x[few], None if clips.lengths is None else clips.lengths[few])
    both = np.stack([real, x[few]], axis=1).reshape(-1, *x.shape[1:])
    titles = [f"clip {i}, {what}" for i in range(len(real)) for what in ("real", f"new {options.swap} factor")]
    lengths = None if clips.lengths is None else np.repeat(clips.lengths[few], 2)
    return arrays, {"x": both, "lengths": lengths, "titles": titles}
