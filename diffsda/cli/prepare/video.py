"""diffsda prepare video: a folder of videos looked over, indexed, split, re-encoded on request."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffsda.cli.options import parse
from diffsda.cli.progress import counting
from diffsda.data.problems import Problems
from diffsda.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Look over a folder of videos, file by file, and leave a prepared folder for --data. Killed, it goes on."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Holds videos, or folders of pictures, in any sub-folders. Folders train, val and test keep their splits; where
    all videos lie in sub-folders, these are the label class."""
    out: Path | None = None
    """The prepared folder; left out, datasets/ and the name of FOLDER."""
    recode: bool = False
    """Write every video anew, as --codec; without it, videos stay where they are."""
    codec: Literal["vp9", "mjpeg"] = "vp9"
    """Both are decoded on CPUs and GPUs alike: mjpeg reads any frame at once, vp9 is several times smaller."""
    gop: int = 8
    """Of vp9: frames from one key frame to the next; a frame costs half as many to decode."""
    size: int | None = None
    """Height and width of a frame in training; --recode makes the shorter side so long."""
    frames: int = 10
    """Of a clip: videos with fewer are passed over."""
    val_share: float = 0.1
    """Part of the videos held out while a model is trained, where no sub-folders say which."""
    test_share: float = 0.1
    """Part of the videos held out until the end, likewise."""
    seed: int = 0
    """Draws what is held out."""
    jobs: int | None = None
    """Processes; left open, one a core."""
    json: bool = False
    """Print a summary as one line of JSON, not the folder alone."""


def run(argv: list[str]) -> int:
    """Prepare the folder; print it. Exit status 1 if some videos cannot be used."""
    options = parse(Options, argv, "prepare video", "Look over a folder of videos: index, split, re-encode.")
    _check(options)
    from diffsda.data.video.encode import Encoding
    from diffsda.data.video.prepare import About, Shares, prepare_video

    name = options.folder.resolve().name
    out = Path("datasets") / name if options.out is None else options.out
    said: dict[str, str] = {}

    def tell(words: str) -> None:
        subject, _, rest = words.partition(": ")
        said[subject] = rest
        print(f"prepare video: {words}", file=sys.stderr)

    problems = Problems(lambda words: print(f"prepare video: {words}", file=sys.stderr))
    with counting() as watch:
        made = prepare_video(
            options.folder,
            out,
            About(name=name, frames=options.frames, size=options.size),
            encoding=Encoding(codec=options.codec, gop=options.gop, size=options.size) if options.recode else None,
            shares=Shares(val=options.val_share, test=options.test_share, seed=options.seed),
            jobs=options.jobs,
            problems=problems,
            tell=tell,
            watch=watch,
        )
    if options.json:
        about = {"frames": made.frames, "size": made.size, "splits": made.splits, "labels": list(made.label_names)}
        print(json.dumps({"out": str(out), "name": made.name, **about, "problems": len(problems), "notes": said}))
    else:
        print(out)
    return 1 if len(problems) else 0


def _check(options: Options) -> None:
    if options.frames < 2:
        raise InputError(f"--frames: got {options.frames}, expected 2 at least")
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs: got {options.jobs}, expected 1 at least")
    if options.size is not None and options.size < 8:
        raise InputError(f"--size: got {options.size}, expected 8 at least")
