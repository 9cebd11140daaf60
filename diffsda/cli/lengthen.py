"""diffsda lengthen: clips of more frames than they have."""

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
    from diffsda.data.clip import Clips
    from diffsda.disentangler import Disentangler

MOST = 3
"""Clips drawn, each above what was made of it."""


@dataclass(frozen=True, kw_only=True)
class Options(WithSolver):
    """Decode more frames than clips have: their static factors, their dynamics carried on."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, or a run folder."""
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CLIPS")]
    """Clips: a file, a prepared folder, or the name of a data set."""
    out: Path
    """File for the clips, in the units they came in."""
    frames: int
    """Frames each clip is to have, no fewer than the longest has."""
    how: Literal["hold", "loop", "pingpong", "resample", "prior"] = "pingpong"
    """Stay at the last frame, begin again, go back and forth, slow down, or go on with what the prior draws."""
    noise: Literal["auto", "own", "repeat", "fresh", "shared"] = "auto"
    """Start noise: the clip's own code for its frames and drawn for new ones (auto), the code of the frame each one's
    dynamics come from (auto to resample), or drawn for all."""
    count: int | None = None
    """Clips, the first ones; left open, all of them."""
    prior: Path | None = None
    """The model's prior, for --how prior; left open, prior.safetensors in the run folder, or else the
    system's own (the word own) where it has one."""
    prior_steps: int | None = None
    """Steps of the prior's sampler; left open, the prior's own number."""
    overlap: int | None = None
    """Frames over which a window of the prior is blended into what was before; left open, a quarter of a window."""
    at_once: int = 512
    """Frames of a clip decoded at a time; fewer take less memory."""
    figure: Path | None = None
    """Draw the first clips above what was made of them as a PNG."""
    json: bool = False
    """Print JSON instead of the path: out, clips, frames, and how the model was run."""


def run(argv: list[str]) -> int:
    """Lengthen clips, write them, and draw some if asked."""
    options = parse(Options, argv, "lengthen", "Decode more frames than clips have.")
    _check(options)
    from diffsda.cli.clips import check_seed, fresh_figure, fresh_file, open_session
    from diffsda.cli.priors import drawable, open_drawing
    from diffsda.cli.progress import solver_bar
    from diffsda.cli.units import Units
    from diffsda.data.arrays import write
    from diffsda.tasks.lengthen import Windows, lengthen

    fresh_file(options.out, overwrite=options.overwrite)
    check_seed(options.seed)
    if options.figure is not None:
        fresh_figure(options.figure, overwrite=options.overwrite)
    session = open_session(options.model, options)
    units = Units.of(session, options)
    if options.figure is not None:
        drawable(units)
    windows = None
    if options.how == "prior":
        prior = open_drawing(options.model, options.prior, session)
        windows = Windows(prior, options.overlap, options.prior_steps)
    clips = units.open(options.data, options.split)
    if options.count is not None:
        clips = clips.select(slice(0, options.count))
    with solver_bar("lengthen") as track:
        x = lengthen(
            session,
            clips,
            options.frames,
            how=options.how,
            noise=options.noise,
            windows=windows,
            tile=options.at_once,
            steps=options.steps,
            seed=options.seed,
            batch=options.batch,
            track=track,
        )
    x = units.back(x)
    labels = {name: label for name, label in clips.labels.items() if label.ndim == 1 and name != "x"}
    arrays = {"x": x} if options.out.suffix == ".npy" else {"x": x, **labels}
    write(options.out, arrays, overwrite=options.overwrite)
    about: dict[str, Any] = {
        "out": str(options.out),
        "clips": len(x),
        "frames": options.frames,
        "from": list(_ends(clips)),
        "how": options.how,
        "noise": options.noise,
        "execution": session.report(),
    }
    print(json.dumps(about) if options.json else options.out)
    if options.figure is not None:
        _draw(options, x, clips, units, session)
        # Results are on stdout; beside JSON a path would spoil it.
        print(options.figure, file=sys.stderr if options.json else sys.stdout)
    return 0


def _check(options: Options) -> None:
    """Refuse options that do not go together, before any work is done."""
    if options.count is not None and options.count < 1:
        raise InputError(f"--count: got {options.count}, expected at least 1")
    if options.at_once < 2:
        raise InputError(f"--at-once: got {options.at_once}, expected at least 2 frames")
    for name in ("prior", "prior_steps", "overlap"):
        if getattr(options, name) is not None and options.how != "prior":
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option}: got {getattr(options, name)} with --how {options.how}, expected --how prior")


def _ends(clips: Clips) -> tuple[int, int]:
    """Return the frames of the shortest and of the longest clip."""
    if clips.lengths is None:
        return clips.frames, clips.frames
    return int(clips.lengths.min()), int(clips.lengths.max())


def _draw(options: Options, x: Any, clips: Clips, units: Units, session: Disentangler) -> None:
    """Draw each clip as it is above what was made of it."""
    import numpy as np

    from diffsda.report.canvas import save
    from diffsda.report.strip import strip

    assert options.figure is not None
    few = clips.select(slice(0, MOST))
    real = units.back(few.x, few.lengths)
    padded = np.zeros_like(x[: len(few)])
    padded[:, : real.shape[1]] = real[:, : padded.shape[1]]
    both = np.stack([padded, x[: len(few)]], axis=1).reshape(-1, *x.shape[1:])
    own = np.full(len(few), few.frames) if few.lengths is None else few.lengths
    lengths = np.stack([own, np.full(len(few), options.frames)], axis=1).ravel()
    titles = [f"clip {i}, {what}" for i in range(len(few)) for what in ("real", options.how)]
    # Pixels are drawn as pixels: a few that a model leaves far outside would wash out all others.
    limits = (-1.0, 1.0) if both.ndim == 5 else None
    save(
        strip(both, lengths, titles=titles, limits=limits),
        options.figure,
        recipe=session.recipe.digest,
        seed=options.seed,
        how=options.how,
        noise=options.noise,
        execution=session.report(),
    )
