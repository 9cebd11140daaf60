"""diffsda evaluate: score models by a protocol of the papers, over seeds, beside what the papers report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffsda.cli.options import WithModel, parse
from diffsda.errors import DiffSDAError, InputError

if TYPE_CHECKING:
    from diffsda.evaluate.run import Journal


@dataclass(frozen=True, kw_only=True)
class Options(WithModel):
    """Score models by a protocol: `diffsda evaluate list` names them."""

    protocol: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROTOCOL")]
    """Name of a protocol; or `list`, and `list PROTOCOL` for its settings."""
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = ()
    """Model files or run folders: one, or several trained alike with different seeds."""
    data: str = ""
    """Clips to score on: a prepared folder, the name of a data set, or a file."""
    fit: str | None = None
    """Clips that judges, probes and baselines are fitted on; left open, the training part of --data."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of pairs, heads and start noise; several give an interval. A protocol that draws nothing takes one."""
    count: int | None = None
    """Score so many clips of the part, drawn once for all seeds (whole recordings, where clips are parts of some); left
    open, all. A list of pairs of a prepared folder is of all its clips: --draw-pairs goes with this."""
    pairs: Path | None = None
    """A list of pairs (.csv) instead of pairs drawn from the seed; --save-pairs writes one."""
    draw_pairs: int | None = None
    """Pairs to draw, instead of a prepared folder's own list too; left open, the protocol's own number."""
    save_pairs: Path | None = None
    """Write the first seed's pairs as such a list (.csv), for other models to be scored on."""
    noise: Literal["dynamic", "static", "fresh", "shared"] | None = None
    """Where swaps start from: the stochastic code of either donor, or fresh noise, alike in all frames if shared; left
    open, as in the system's own evaluation: dynamic for diffsda, shared for divid."""
    steps: int | None = None
    """Solver steps T, 2T - 1 network evaluations."""
    static: tuple[str, ...] | None = None
    """Labels of what a clip keeps; left open, what is known of the set."""
    dynamic: tuple[str, ...] | None = None
    """Labels of what happens in it; left open, what is known of the set."""
    prior: Path | None = None
    """The model's prior; left open, prior.safetensors in the run folder if it is there."""
    judge: tuple[str, ...] = ()
    """Judges by kind, KIND=NAME each; left open, the paper's where it is there, else a substitute."""
    judge_file: tuple[str, ...] = ()
    """Weight files of judges that come without, JUDGE=PATH each: openpose, market1501, i3d."""
    set: tuple[str, ...] = ()
    """Settings of the protocol's own, NAME=VALUE each: `diffsda evaluate list PROTOCOL` says what they mean."""
    as_published: bool = False
    """Count as the authors' code does, its slips included."""
    cache: Path | None = None
    """Folder for what judges said; left open, judged/ beside the result."""
    out: Path | None = None
    """The result (.json); left open, eval/PROTOCOL-DATA.json in the first model's run folder."""
    json: bool = False
    """Print the result as JSON instead of its path."""


def run(argv: list[str]) -> int:
    """Score, write the result, print its path; the table goes to stderr."""
    from diffsda.evaluate.protocols import protocol
    from diffsda.evaluate.published import published

    options = parse(Options, argv, "evaluate", "Score models by a protocol of the papers.")
    if options.protocol == "list":
        print(_listed(options.models))
        return 0
    wanted = protocol(options.protocol)
    _check(options)
    out = options.out or _place(options)
    from diffsda.cli.clips import fresh
    from diffsda.cli.evaluation import Evaluation
    from diffsda.cli.evaluation_checks import something_measured
    from diffsda.evaluate.run import Journal

    if options.out is None:
        out.parent.mkdir(parents=True, exist_ok=True)
    fresh(out, overwrite=options.overwrite)
    if options.as_published and not wanted.published_counting:
        print(f"note: --as-published changes nothing in {wanted.name}", file=sys.stderr)
    evaluation = Evaluation(options, wanted, out)
    journal = Journal(out.with_name(f".{out.stem}.seeds.jsonl"), evaluation.key)
    if journal.others:
        print(
            f"note: {len(journal.others)} finished seeds of other settings for {out} are kept for them", file=sys.stderr
        )
    if options.save_pairs is not None:
        evaluation.save_pairs(options.save_pairs)
    try:
        result = evaluation.result(journal)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_kept(journal, options)) from None
    try:
        something_measured(wanted.name, result.rows)
    except DiffSDAError:
        journal.drop()  # what was missing may be there next time
        raise
    result.write(out)
    journal.drop()
    print(out.read_text() if options.json else out)
    print(result.table(), file=sys.stderr, end="")
    if not result.published and (sets := sorted({row.data for row in published(wanted.name)})):
        print(f"The papers report this on {', '.join(sets)}, not on {result.data}.", file=sys.stderr)
    return 0


def _listed(names: tuple[str, ...]) -> str:
    """Return all protocols, or what is to be known of those that are named."""
    from diffsda.evaluate.protocols import PROTOCOLS, protocol

    width = max(map(len, PROTOCOLS))
    lines = []
    for one in map(protocol, names or tuple(PROTOCOLS)):
        lines += [f"{one.name:<{width}}  {one.tables}: {one.about}", f"{'':<{width}}  needs {one.needs}"]
        if names:
            lines += [f"  --set {setting.line(name)}" for name, setting in one.settings.items()]
            lines += [f"  --as-published {'counts as the authors' if one.published_counting else 'changes nothing'}"]
        else:
            lines += [f"{'':<{width}}  --set {', '.join(one.settings)}"]
    return "\n".join([*lines, *([] if names else ["`diffsda evaluate list PROTOCOL` says what settings mean"])])


def _kept(journal: Journal, options: Options) -> str:
    """Return what is left of an evaluation that is stopped."""
    asked = [(model, seed) for model in range(len(options.models)) for seed in options.seeds]
    total, held = len(asked), sum(one in journal.held for one in asked)
    of = f"{total} seeds" if len(options.models) == 1 else f"{total} ({len(options.models)} models x seeds)"
    if not held:
        return "interrupted: no seed was finished, nothing is kept"
    return f"interrupted: {held} of {of} kept; the same command goes on"


def _check(options: Options) -> None:
    """Refuse what cannot be, before anything is opened."""
    if not options.models:
        raise InputError("MODEL: got none, expected a model file or a run folder")
    if not options.data:
        raise InputError("--data: got nothing, expected a prepared folder, the name of a data set, or a file")
    if options.out is not None and options.out.suffix != ".json":
        raise InputError(f"--out: got {options.out}, expected a file ending in .json")
    for name in ("count", "draw_pairs"):
        value = getattr(options, name)
        if value is not None and value < 2:
            raise InputError(f"--{name.replace('_', '-')}: got {value}, expected at least 2")
    if options.prior is not None and len(options.models) > 1:
        raise InputError("--prior: got one for several models, expected each to have its own in its run folder")
    if options.save_pairs is not None:
        from diffsda.cli.clips import fresh

        if options.save_pairs.suffix != ".csv":
            raise InputError(f"--save-pairs: got {options.save_pairs}, expected a file ending in .csv")
        fresh(options.save_pairs, overwrite=options.overwrite, option="--save-pairs")
    if options.pairs is not None and options.draw_pairs is not None:
        raise InputError("--draw-pairs: got a list of pairs as well, expected one of them")


def _place(options: Options) -> Path:
    first = Path(options.models[0])
    data = Path(options.data).stem or "clips"
    return (first if first.is_dir() else first.parent) / "eval" / f"{options.protocol}-{data}.json"
