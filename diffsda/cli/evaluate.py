"""diffsda evaluate: score models by a protocol of the papers, over seeds, beside what the papers report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffsda.cli.options import WithModel, parse
from diffsda.errors import InputError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Options(WithModel):
    """Score models by a protocol: `diffsda evaluate list` names them."""

    protocol: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROTOCOL")]
    """Name of a protocol, or `list`."""
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = ()
    """Model files or run folders: one, or several trained alike with different seeds."""
    data: str = ""
    """Clips to score on: a prepared folder, the name of a data set, or a file."""
    fit: str | None = None
    """Clips that judges, probes and baselines are fitted on; left open, the training part of --data."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of pairs, judges and start noise; several give an interval."""
    count: int | None = None
    """Score so many clips of the part, drawn once for all seeds (whole recordings, where clips are parts of some); left
    open, all. A list of pairs of a prepared folder is of all its clips: --draw-pairs goes with this."""
    pairs: Path | None = None
    """A list of pairs (.csv) instead of pairs drawn from the seed."""
    draw_pairs: int | None = None
    """Pairs to draw, instead of a prepared folder's own list too; left open, the protocol's own number."""
    save_pairs: Path | None = None
    """Write the first seed's pairs as such a list (.csv), for other models to be scored on."""
    noise: Literal["dynamic", "static", "fresh", "shared"] = "dynamic"
    """Where swaps start from: the stochastic code of either donor, or fresh noise, alike in all frames if shared."""
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
    """Settings of the protocol's own, NAME=VALUE each."""
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
    from diffsda.evaluate.protocols import PROTOCOLS, protocol
    from diffsda.evaluate.published import published

    options = parse(Options, argv, "evaluate", "Score models by a protocol of the papers.")
    if options.protocol == "list":
        width = max(map(len, PROTOCOLS))
        for one in PROTOCOLS.values():
            print(f"{one.name:<{width}}  {one.tables}: {one.about}\n{'':<{width}}  needs {one.needs}")
            print(f"{'':<{width}}  --set {', '.join(one.settings)}")
        return 0
    wanted = protocol(options.protocol)
    _check(options)
    out = options.out or _place(options)
    from diffsda.cli.clips import fresh
    from diffsda.cli.evaluation import Evaluation
    from diffsda.evaluate.run import Journal

    if options.out is None:
        out.parent.mkdir(parents=True, exist_ok=True)
    fresh(out, overwrite=options.overwrite)
    evaluation = Evaluation(options, wanted, out)
    journal = Journal(out.with_name(f".{out.stem}.seeds.jsonl"), evaluation.key)
    if options.save_pairs is not None:
        evaluation.save_pairs(options.save_pairs)
    result = evaluation.result(journal)
    result.write(out)
    journal.drop()
    print(out.read_text() if options.json else out)
    print(result.table(), file=sys.stderr, end="")
    if not result.published and (sets := sorted({row.data for row in published(wanted.name)})):
        print(f"The papers report this on {', '.join(sets)}, not on {result.data}.", file=sys.stderr)
    return 0


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
