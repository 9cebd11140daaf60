"""diffsda prepare own: a folder of one's own videos, sounds, tables or arrays, and how to train on it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffsda.cli.options import parse
from diffsda.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Look over your own files, split them, and leave a prepared folder with a recipe to start from.

    Prints the folder and the command that trains on it. Files in folders called train, val and test keep their split.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Your files: videos (or folders of pictures), recordings, CSV or Parquet tables, or arrays. One file will do."""
    out: Path | None = None
    """The prepared folder; left out, datasets/ and the name of FOLDER."""
    modality: Literal["video", "audio", "series"] | None = None
    """What to take where a folder holds several kinds."""
    frames: int | None = None
    """Frames (rows) of a clip; left out, what is short is taken whole, what is long in windows, videos in 16."""
    size: int | None = None
    """Height and width of a video's frame in training; left out, 64."""
    keep: bool = False
    """Leave videos as they are and read them so; left out, they are written anew in the size to train on."""
    id: str | None = None
    """Column that tells series apart (of arrays: a label); left out, it is guessed, and the guess told."""
    time: str | None = None
    """Column of time, or several (Date,Time or year,month,day,hour); left out, it is guessed, and the guess told."""
    by: Literal["file", "folder"] = "file"
    """What is held out as one, of recordings and videos: each file, or all that lie in a folder (of a speaker)."""
    val_share: float = 0.1
    """Part held out while a model is trained, where no folders say which."""
    test_share: float = 0.1
    """Part held out until the end, likewise."""
    seed: int = 0
    """Draws what is held out."""
    jobs: int | None = None
    """Files worked on at once; left out, one a core."""
    overwrite: bool = False
    """Prepare a folder again that is finished, or was begun otherwise."""
    json: bool = False
    """Print a summary as one line of JSON."""


def run(argv: list[str]) -> int:
    """Prepare the files; print folder and command. Exit status 1 if some cannot be used."""
    options = parse(Options, argv, "prepare own", "Look over your own files and make them ready to train on.")
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs: got {options.jobs}, expected 1 at least")
    if options.size is not None and options.size < 8:
        raise InputError(f"--size: got {options.size}, expected 8 at least")
    from diffsda.cli.progress import counting
    from diffsda.data.own.prepare import prepare_own
    from diffsda.data.own.settings import Settings
    from diffsda.data.problems import Problems

    name = options.source.resolve().stem
    problems = Problems(_tell)
    with counting() as watch:
        made = prepare_own(
            Settings(
                source=options.source,
                name=name,
                modality=options.modality,
                frames=options.frames,
                size=options.size,
                keep=options.keep,
                id=options.id,
                time=options.time,
                by=options.by,
                val_share=options.val_share,
                test_share=options.test_share,
                seed=options.seed,
                jobs=options.jobs or len(os.sched_getaffinity(0)),
                overwrite=options.overwrite,
            ),
            Path("datasets") / name if options.out is None else options.out,
            problems=problems,
            tell=_tell,
            watch=watch,
        )
    if options.json:
        print(json.dumps({**made.summary(), "problems": len(problems)}))
    else:
        print(made.folder)
        print(made.command)
    return 1 if len(problems) else 0


def _tell(words: str) -> None:
    # Names and cells of strangers' files end up in words: they must not steer the terminal.
    print("prepare own: " + "".join(c if c.isprintable() else "?" for c in words), file=sys.stderr)
