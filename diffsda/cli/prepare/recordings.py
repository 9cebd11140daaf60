"""diffsda prepare timit | librispeech | physionet | airq | etth1: downloads of the paper's recorded sets."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diffsda.cli.options import parse

if TYPE_CHECKING:
    from diffsda.data.prepared import Dataset
    from diffsda.data.problems import Problems
    from diffsda.data.stream import Watch


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every one of these sets is told."""

    root: Path
    """Folder of the download; what is looked for may lie up to three folders deeper."""
    out: Path | None = None
    """Folder to prepare into; left open, datasets/NAME."""
    overwrite: bool = False
    """Replace a prepared set that is there."""
    json: bool = False
    """Print JSON instead of the folder's name."""


@dataclass(frozen=True, kw_only=True)
class Timit(Options):
    """TIMIT: log mel spectra of 800 ms, with speaker, sex, dialect and phones."""

    dev: Literal["join", "hold-out"] = "join"
    """The 50 development speakers: joined to the training part, as the authors do, or held out as the part val."""


@dataclass(frozen=True, kw_only=True)
class LibriSpeech(Options):
    """LibriSpeech: log mel spectra of 800 ms, stored frame by frame in half precision (18 GB for 360 hours)."""

    train: str = "train-clean-360"
    """Folder of the training part."""
    threads: int | None = None
    """Recordings worked on at once; left open, one a core, eight at most."""


@dataclass(frozen=True, kw_only=True)
class Series(Options):
    """What the time series are told besides."""

    seed: int = 0
    """Of the shuffle that parts training from validation."""
    as_published: bool = False
    """Make what the authors' code makes, slips included (docs/datasets-audio-series.md lists them)."""


@dataclass(frozen=True, kw_only=True)
class Physionet(Series):
    """PhysioNet 2012: two days of ten vital signs, hourly, with missing values."""


@dataclass(frozen=True, kw_only=True)
class Airq(Series):
    """Beijing air quality: four weeks of ten measurements at twelve stations."""


@dataclass(frozen=True, kw_only=True)
class Etth1(Series):
    """ETTh1: four weeks of six loads of a transformer, with its oil temperature."""


KINDS: dict[str, type[Options]] = {
    "timit": Timit,
    "librispeech": LibriSpeech,
    "physionet": Physionet,
    "airq": Airq,
    "etth1": Etth1,
}


def run(argv: list[str]) -> int:
    """Prepare the set that the first word names."""
    what, kind = argv[0], KINDS[argv[0]]
    options: Any = parse(kind, argv[1:], f"prepare {what}", kind.__doc__ or what)
    from diffsda.cli.progress import counting
    from diffsda.data.problems import Problems
    from diffsda.data.series.parts import refuse_finished

    problems = Problems(tell=_tell)
    out = Path("datasets", what) if options.out is None else options.out
    refuse_finished(out, options.overwrite)
    with counting() as watch:
        held = _prepare(what, options, out, problems, watch)
    if problems:
        _tell(f"{len(problems)} problems, kept in {out / 'problems.jsonl'}; what could be used is prepared")
    if options.json:
        print(json.dumps({"folder": str(out), "name": held.name, "splits": held.splits, "problems": len(problems)}))
    else:
        print(out)
    return 1 if problems else 0


def _prepare(what: str, options: Any, out: Path, problems: Problems, watch: Watch) -> Dataset:
    if what == "librispeech":
        from diffsda.data.audio.librispeech import prepare

        return prepare(
            options.root,
            out,
            problems=problems,
            train=options.train,
            tell=_tell,
            watch=watch,
            threads=options.threads,
        )
    from diffsda.data.series.parts import leave

    given: dict[str, Any] = {"problems": problems, "tell": _tell, "watch": watch}
    if what == "timit":
        given["dev"] = options.dev
    else:
        given |= {"seed": options.seed, "as_published": options.as_published}
    dataset, parts = _builder(what)(options.root, **given)
    return leave(out, dataset, parts, problems)


def _builder(what: str) -> Callable[..., Any]:
    from diffsda.data.audio import timit
    from diffsda.data.series import airq, etth1, physionet

    builders: dict[str, Callable[..., Any]] = {
        "timit": timit.build,
        "physionet": physionet.build,
        "airq": airq.build,
        "etth1": etth1.build,
    }
    return builders[what]


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
