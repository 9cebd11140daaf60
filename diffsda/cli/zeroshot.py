"""diffsda zero-shot: swap or reconstruct clips of sets that the model was not trained on."""

from __future__ import annotations

import dataclasses
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
    from diffsda.tasks.zeroshot import Borrowed

SIDES = ("static", "dynamic", "reconstruct")
MOST = 3
"""Swaps drawn."""


@dataclass(frozen=True, kw_only=True)
class Options(WithSolver):
    """Swap or reconstruct clips of other sets: frames go into the model's size and colours and come back in theirs."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, or a run folder; its whitening and latent statistics are used, never the other set's."""
    out: Path
    """File for the clips made."""
    static: str | None = None
    """Clips that lend their static factor: a file, a prepared folder, or the name of a data set."""
    dynamic: str | None = None
    """Clips that lend their dynamics."""
    reconstruct: str | None = None
    """Clips to encode and sample back, in the place of a swap."""
    both: bool = False
    """Swap the other way round too: the static factors of --dynamic with the dynamics of --static, as x_other."""
    count: int | None = None
    """Clips (or pairs, clip i with clip i), the first ones; left open, all there are."""
    frames: int | None = None
    """Take the first V frames of every clip, after a stride; shorter clips are left out."""
    static_stride: int = 1
    """Keep one frame in so many of --static."""
    dynamic_stride: int = 1
    """The same of --dynamic."""
    reconstruct_stride: int = 1
    """The same of --reconstruct."""
    fps: float | None = None
    """Frames a second the model was trained on; clips of another rate are resampled in time, and back."""
    static_fps: float | None = None
    """Frames a second of --static, after its stride; left open, the model's."""
    dynamic_fps: float | None = None
    """The same of --dynamic."""
    reconstruct_fps: float | None = None
    """The same of --reconstruct."""
    way: Literal["area", "published"] = "area"
    """How pictures change size: by area when they shrink and bilinear when they grow, or the authors' nearest pixel."""
    back: Literal["static", "dynamic", "model"] = "static"
    """Whose size and colours swaps are written in; their frames are always those of the dynamics."""
    like: Path | None = None
    """The prepared folder the model was trained on: settings of spectra are compared with its."""
    noise: Literal["auto", "dynamic", "static", "fresh", "shared", "own"] = "auto"
    """Start noise of swaps: dynamic, static, fresh, shared, or the system's own way (auto; dynamic for diffsda); of
    reconstructions: own (auto), fresh."""
    figure: Path | None = None
    """Draw the first few clips as a PNG, in the model's form."""
    json: bool = False
    """Print JSON instead of the path: out, clips, what was done to them, errors, and how the model was run."""


def run(argv: list[str]) -> int:
    """Bring clips into the model's form, swap or reconstruct them, bring them back and write them."""
    options = parse(Options, argv, "zero-shot", "Swap or reconstruct clips of sets the model was not trained on.")
    _check(options)
    from diffsda.cli.clips import check_seed, fresh_figure, fresh_file, open_session
    from diffsda.cli.priors import drawable
    from diffsda.cli.progress import solver_bar
    from diffsda.cli.units import Units
    from diffsda.data.arrays import write

    fresh_file(options.out, overwrite=options.overwrite)
    check_seed(options.seed)
    if options.figure is not None:
        fresh_figure(options.figure, overwrite=options.overwrite)
    session = open_session(options.model, options)
    units = Units.of(session, options)
    if options.figure is not None:
        drawable(units)
    sides = {side: _open(side, units, options) for side in SIDES if getattr(options, side) is not None}
    about: dict[str, Any] = {"out": str(options.out), "way": options.way}
    with solver_bar("zero-shot") as track:
        if options.reconstruct is not None:
            arrays, rows, more = _reconstruct(session, units, sides["reconstruct"], options, track)
        else:
            arrays, rows, more = _swap(session, units, sides, options, track)
    if options.out.suffix == ".npy":
        arrays = {"x": arrays["x"]}
    write(options.out, arrays, overwrite=options.overwrite)
    about |= {"clips": len(arrays["x"]), **more, **{side: _said(held) for side, held in sides.items()}}
    about["execution"] = session.report()
    print(json.dumps(about) if options.json else options.out)
    if options.figure is not None:
        _draw(rows, options, session)
        # Results are on stdout; beside JSON a path would spoil it.
        print(options.figure, file=sys.stderr if options.json else sys.stdout)
    return 0


def _check(options: Options) -> None:
    """Refuse options that do not go together, before any work is done."""
    given = [side for side in SIDES if getattr(options, side) is not None]
    if given not in (["static", "dynamic"], ["reconstruct"]):
        raise InputError(
            f"zero-shot: got {' and '.join(f'--{side}' for side in given) or 'no clips'}, expected --static and "
            "--dynamic for a swap, or --reconstruct"
        )
    _check_rates(options, given)
    if options.count is not None and options.count < 1:
        raise InputError(f"--count: got {options.count}, expected at least 1")
    known = ("auto", "own", "fresh") if given == ["reconstruct"] else ("auto", "dynamic", "static", "fresh", "shared")
    if options.noise not in known:
        raise InputError(f"--noise: got {options.noise} for --{given[0]}, expected one of {', '.join(known)}")
    if options.both and given == ["reconstruct"]:
        raise InputError("--both: got it with --reconstruct, expected --static and --dynamic")
    if options.both and options.out.suffix == ".npy":
        raise InputError(f"--out: got {options.out} with --both, expected .npz or .safetensors: two arrays to keep")


def _check_rates(options: Options, given: list[str]) -> None:
    """Refuse strides and frames a second that are none, or of clips that are not there."""
    for side in SIDES:
        fps, stride = getattr(options, f"{side}_fps"), getattr(options, f"{side}_stride")
        if side not in given and (fps is not None or stride != 1):
            name = f"--{side}-fps" if fps is not None else f"--{side}-stride"
            raise InputError(f"{name}: got a value without --{side}, expected the clips it is of")
        if stride < 1:
            raise InputError(f"--{side}-stride: got {stride}, expected at least 1")
        if fps is not None and not 0 < fps < float("inf"):
            raise InputError(f"--{side}-fps: got {fps:g}, expected a positive number")
        if fps is not None and options.fps is None:
            raise InputError(f"--{side}-fps: got {fps:g} and no --fps, expected the model's frames a second as well")
    if options.fps is not None and not 0 < options.fps < float("inf"):
        raise InputError(f"--fps: got {options.fps:g}, expected a positive number")
    if options.fps is not None and all(getattr(options, f"{side}_fps") is None for side in given):
        raise InputError(f"--fps: got {options.fps:g} alone, expected --{given[0]}-fps as well: two rates make a ratio")


def _open(side: str, units: Units, options: Options) -> Borrowed:
    """Open one side's clips and bring them into the form the model takes."""
    from diffsda.data.prepared import Dataset, is_prepared
    from diffsda.data.registry import open_clips
    from diffsda.recipe import Clips as Form
    from diffsda.tasks.zeroshot import borrow

    source, stride = getattr(options, side), getattr(options, f"{side}_stride")
    form = units.form
    frames: int | None = options.frames
    opened = None
    if is_prepared(source):
        held = Dataset.read(source)
        _compare(held, source, units, options)
        if held.kind != "arrays":
            # Read from disk at that stride, so that V frames are V frames.
            opened = Form(modality=held.modality, frames=options.frames, channels=held.channels, stride=stride)  # type: ignore[arg-type]
            stride, frames = 1, None
    clips = open_clips(source, options.split, opened)
    if options.count is not None:
        clips = clips.select(slice(0, options.count))
    frame = (form.channels,) if not units.recipe.video else (form.channels, form.size, form.size)
    if form.latent and clips.x.shape[2:] != frame:
        raise InputError(
            f"--{side}: got frames {clips.x.shape[2:]} for a model of latents {frame}, expected latents of that shape, "
            "or pixels and the --first-stage its latents were made with: latents cannot be resized"
        )
    fps = getattr(options, f"{side}_fps")
    rate = 1.0 if fps is None or options.fps is None else options.fps / fps
    try:
        borrowed, short = borrow(clips, frame, stride=stride, frames=frames, rate=rate, way=options.way)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"--{side} {source}: {error}") from None
    if short:
        print(f"--{side}: left out {short} clips of fewer than {frames} frames", file=sys.stderr)
    return borrowed


def _compare(held: Any, source: str, units: Units, options: Options) -> None:
    """Refuse clips of another kind, or spectra that were made in another way than the model's.

    Raises: InputError if they are, or what they are to be compared with is no prepared folder.
    """
    from diffsda.data.prepared import Dataset
    from diffsda.tasks.zeroshot import same_features

    wanted = units.recipe.clips.modality
    if held.modality != wanted:
        raise InputError(f"{source}: got {held.modality}, expected {wanted}, which the model was trained on")
    if wanted != "audio":
        return
    compared: tuple[str, ...] = ()
    if options.like is not None:
        own = Dataset.read(options.like).options
        compared = same_features(held.options, own, data_name=source, own_name=str(options.like))
    if not compared:
        print(f"{source}: how its spectra were made was not compared with the model's; see --like", file=sys.stderr)


def _reconstruct(
    session: Disentangler, units: Units, held: Borrowed, options: Options, track: Track
) -> tuple[dict[str, Any], list[tuple[str, Any, Any]], dict[str, Any]]:
    from diffsda.tasks.reconstruct import reconstruct
    from diffsda.tasks.zeroshot import apart

    clips = units.take(held.seen)
    x = reconstruct(
        session,
        clips,
        noise="fresh" if options.noise == "fresh" else "own",
        steps=options.steps,
        seed=options.seed,
        batch=options.batch,
        track=track,
    )
    made = units.back(x, clips.lengths)
    at_the_model = apart(x, clips)
    x = held.back(made)
    arrays = {"x": x} | ({} if held.original.lengths is None else {"lengths": held.original.lengths})
    more = {"mse": apart(x, held.original), "mse_at_the_model": at_the_model}
    print(f"mean squared error {more['mse']:.3g} to the originals, in their units", file=sys.stderr)
    rows = [("real", held.seen.x, held.seen.lengths), ("reconstructed", made, held.seen.lengths)]
    return arrays, rows, more


def _swap(
    session: Disentangler, units: Units, sides: dict[str, Borrowed], options: Options, track: Track
) -> tuple[dict[str, Any], list[tuple[str, Any, Any]], dict[str, Any]]:
    import numpy as np

    from diffsda.tasks.swap import swap

    count = min(len(held.seen) for held in sides.values())
    few = {side: units.take(held.seen.select(slice(0, count))) for side, held in sides.items()}
    donors = np.arange(count)
    arrays: dict[str, Any] = {}
    drawn: list[tuple[str, Any, Any]] = []
    ways = [("static", "dynamic", "")] + ([("dynamic", "static", "_other")] if options.both else [])
    for giver, taker, name in ways:
        x = swap(
            session,
            few[giver],
            few[taker],
            noise=None if options.noise == "auto" else options.noise,  # type: ignore[arg-type]
            steps=options.steps,
            seed=options.seed,
            batch=options.batch,
            track=track,
        )
        made = units.back(x, few[taker].lengths)
        # The other way round, the roles are swapped: what was static is dynamic.
        look = {"static": giver, "dynamic": taker, "model": "model"}[options.back]
        source = sides[taker].original
        lengths = None if source.lengths is None else source.lengths[:count]
        form = sides[taker].match if look == "model" else sides[look].match
        given = form.wanted if look == "model" else form.given
        match = dataclasses.replace(form, given=given, rate=sides[taker].match.rate)
        arrays[f"x{name}"] = match.back(made, source.frames, lengths)
        if lengths is not None:
            arrays[f"lengths{name}"] = lengths
        if not drawn:
            drawn = [(f"{side} donor", sides[side].seen.x, sides[side].seen.lengths) for side in ("static", "dynamic")]
            drawn.append(("swap", made, few[taker].lengths))
    arrays |= {"static_donor": donors, "dynamic_donor": donors}
    return arrays, drawn, {"noise": options.noise, "both": options.both, "back": options.back}


def _said(held: Borrowed) -> dict[str, Any]:
    """Say what was done to a set's clips, and what that alone loses."""
    return {
        "set": held.original.name,
        "clips": len(held.original),
        "frames": held.original.frames,
        "frame": list(held.match.given),
        "model_frames": held.seen.frames,
        "model_frame": list(held.match.wanted),
        "rate": held.match.rate,
        "mse_without_the_model": held.lost(),
    }


def _draw(rows: list[tuple[str, Any, Any]], options: Options, session: Disentangler) -> None:
    """Draw the first clips of each row under each other, in the model's form."""
    import numpy as np

    from diffsda.report.canvas import save
    from diffsda.report.strip import strip

    assert options.figure is not None
    count = min(MOST, *(len(x) for _, x, _ in rows))
    longest = max(x.shape[1] for _, x, _ in rows)
    picture, lengths, titles = [], [], []
    for i in range(count):
        for name, x, n in rows:
            picture.append(np.concatenate([x[i], np.zeros((longest - x.shape[1], *x.shape[2:]), x.dtype)]))
            lengths.append(x.shape[1] if n is None else int(n[i]))
            titles.append(f"{i}: {name}")
    # Pixels are drawn as pixels: a few that a model leaves far outside would wash out all others.
    limits = (-1.0, 1.0) if picture[0].ndim == 4 else None
    save(
        strip(np.stack(picture), np.array(lengths), titles=titles, limits=limits),
        options.figure,
        recipe=session.recipe.digest,
        seed=options.seed,
        way=options.way,
        noise=options.noise,
        execution=session.report(),
    )
