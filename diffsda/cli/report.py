"""diffsda report: a training run on one page."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from diffsda.cli.options import WithSolver, parse
from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.cli.units import Units
    from diffsda.data.clip import Clips
    from diffsda.data.stream import Stream
    from diffsda.disentangler import Disentangler
    from diffsda.prior.latent import LatentPrior
    from diffsda.report.run import Run
    from diffsda.report.whole import Brought

MOST = 12
"""Clips shown of a kind at most: swaps go with the square."""
ROOM = 1 << 29
"""Bytes of clips that are read: of what lies on disk and is larger some, evenly spaced."""


@dataclass(frozen=True, kw_only=True)
class Options(WithSolver):
    """Put a training run on one HTML page: what the model is, how training went, pictures, films and scores."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a run of `diffsda train`."""
    data: str | None = None
    """Clips to show it with: a file, a prepared folder, or the name of a data set; left open, no reconstructions and
    no swaps."""
    out: Path | None = None
    """The page (.html); left open, report.html in the run folder."""
    evaluation: tuple[Path, ...] | None = None
    """Results of `diffsda evaluate` to show; left open, those in the run folder's eval/."""
    count: int = 4
    """Clips shown of a kind; swaps are of all with all."""
    prior: Path | None = None
    """The model's prior; left open, prior.safetensors in the run folder if it is there."""
    video: bool = True
    """Put short films beside the strips, where clips are video."""
    json: bool = False
    """Print JSON instead of the path: out, bytes, what is on the page, and how the model was run."""


def run(argv: list[str]) -> int:
    """Draw everything, then write the page."""
    options = parse(Options, argv, "report", "Put a training run on one page.")
    out = Path(options.run) / "report.html" if options.out is None else options.out
    _check(options, out)
    import matplotlib  # noqa: F401  # missing, it shows here and not after the work
    import torch

    from diffsda.cli.clips import check_seed, fresh, open_session
    from diffsda.cli.priors import own_prior
    from diffsda.cli.progress import solver_bar
    from diffsda.cli.units import Units
    from diffsda.header import read_header
    from diffsda.report.page import write_page
    from diffsda.report.run import read_run
    from diffsda.report.subject import Subject, extremes, films_or_why
    from diffsda.report.whole import footer, report_sections

    held = read_run(options.run, options.evaluation)
    fresh(out, overwrite=options.overwrite)
    check_seed(options.seed)
    session = open_session(str(held.weights), options)
    units = Units.of(session, options)
    prior, stale = _prior(options, held, session)
    if options.data is not None or prior is not None:
        _drawable(units)
    brought = None if options.data is None else _bring(options, units)
    video = held.recipe.video
    films, filmless = films_or_why(options.video and video)
    notes = [words for words in (stale, filmless) if words]
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    subject = Subject(
        model=session,
        back=units.back,
        limits=(-1.0, 1.0) if video and not brought else None if brought is None else extremes(brought.clips),
        unit="whitened" if options.as_is else "value",
        seed=options.seed,
        steps=options.steps,
        batch=options.batch,
        films=films,
        watch=solver_bar,
        about={"recipe": held.recipe.digest, "checkpoint": held.digest[:12], "step": held.step},
    )
    parameters = read_header(held.weights).parameters
    if isinstance(session, torch.nn.Module):
        parameters = sum(p.numel() for p in session.parameters())  # Without what norms have measured.
    own = own_prior(session, held.recipe.clips.frames or (brought.clips.frames if brought else None))
    words = " ".join(notes)
    sections = report_sections(
        held, subject, parameters, brought=brought, prior=prior, own=own, count=options.count, note=words
    )
    title = f"{held.recipe.name}: {held.folder.resolve().name}"
    write_page(out, title, sections, footer=footer(held, subject, brought, prior), contents=True)
    about: dict[str, Any] = {
        "out": str(out),
        "bytes": out.stat().st_size,
        "step": held.step,
        "results": len(held.results),
        "prior": prior is not None,
        "execution": session.report(),
    }
    print(json.dumps(about) if options.json else out)
    return 0


def _check(options: Options, out: Path) -> None:
    """Refuse what cannot be, before anything is opened."""
    if not 1 <= options.count <= MOST:
        raise InputError(f"--count: got {options.count}, expected 1 to {MOST}: swaps are of all with all")
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out: got {out}, expected a file ending in .html")


def _prior(options: Options, held: Run, session: Disentangler) -> tuple[LatentPrior | None, str]:
    """Return the prior, and a sentence where the run's own is of other weights.

    Raises: InputError if one was named that is not this model's.
    """
    from diffsda.cli.priors import open_prior

    given = held.prior if options.prior is None else options.prior
    if given is None:
        return None, ""
    try:
        return open_prior(str(held.weights), given, session._like().device), ""
    except InputError as error:
        if options.prior is not None:
            raise
        return None, f"The prior was left out: {error}."


def _drawable(units: Units) -> None:
    """Refuse pictures of what no one can look at, before any work is done."""
    form = units.form
    if units.recipe.video and form.channels not in (1, 3):
        raise InputError(
            f"--first-stage: got none for a model of {form.channels} channels, expected the one its latents were made "
            "with; or leave out --data, and have curves and scores only"
        )


def _bring(options: Options, units: Units) -> Brought:
    """Open the clips; of many on disk only some are read."""
    import numpy as np

    from diffsda.data.clip import Clips
    from diffsda.data.prepared import Dataset, in_memory, is_prepared
    from diffsda.data.registry import open_data
    from diffsda.report.whole import Brought
    from diffsda.train.data import fits

    assert options.data is not None
    found = open_data(options.data, options.split, units.form)
    fits(found, units.recipe.replace(clips=units.form))
    total = len(found)
    if total < 2:
        raise InputError(f"--data: got {total} clip, expected two at least: one lends what the other takes")
    if isinstance(found, Clips):
        clips = found
    else:
        room = ROOM // (4 * int(np.prod(found.shape)))
        clips = in_memory(found) if total <= room else _some(found, max(2 * MOST, room))
    name = clips.name
    if is_prepared(options.data):
        about = Dataset.read(options.data)
        names = {label: words for label, words in about.label_names.items() if label in clips.labels}
        name, clips = about.name, dataclasses.replace(clips, label_names=names)
    return Brought(clips=clips, into=units.take, name=name, split=options.split, of=total)


def _some(stream: Stream, most: int) -> Clips:
    """Read the fixed view of some items, evenly spaced."""
    import numpy as np

    from diffsda.data.clip import Clips
    from diffsda.data.stream import Take

    items = np.unique(np.linspace(0, len(stream) - 1, most).round().astype(np.int64))
    takes = ([Take(int(item))] for item in items)
    x = np.concatenate(list(stream.batches(takes)))
    labels = {name: label[items] for name, label in stream.labels().items()}
    return Clips(x, labels=labels, name=stream.name, source=stream.source)
