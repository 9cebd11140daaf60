"""diffsda prepare sprites: characters in layers, rendered from a Debian package, with exact swap targets."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffsda.cli.options import parse
from diffsda.errors import InputError

NAME = "sprites"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Render a benchmark of characters: who (sex, head, chest, legs) by what they do (action, direction).

    Characters of val and test are new, every part of them is in train, and the result of any swap can be rendered, or
    looked up in the same split. The sheets come from the Debian package flare-game (122 MB), which is downloaded and
    unpacked, not installed. Killed, the same command goes on.
    """

    out: Path | None = None
    """The prepared folder; left out, datasets/sprites."""
    size: Literal[64, 32] = 64
    """Height and width of a frame."""
    design: Literal["compact", "full"] = "compact"
    """compact: 396 characters, 3 actions, 3 directions (3,564 clips). full: 960, 5 and 8 (38,400 clips)."""
    arrays: bool = False
    """Leave OUT-arrays too, the same clips as .npz files to train on from memory. At 32 pixels (350 MB) that is the
    default, and --no-arrays leaves them out."""
    root: Path | None = None
    """Take the package from here and not from apt: a folder with its .deb file, or its unpacked tree."""
    packages: Path | None = None
    """Where a package is downloaded and unpacked to; left out, packages/ beside OUT."""
    jobs: int | None = None
    """Processes; left open, one a core."""
    json: bool = False
    """Print a summary as one line of JSON, not the folder alone."""


def run(argv: list[str]) -> int:
    """Prepare the sprites; print their folder."""
    words = f"prepare {NAME}", Options.__doc__ or ""
    size = parse(Options, argv, *words).size
    options = parse(Options, argv, *words, default=Options(arrays=size == 32))
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs: got {options.jobs}, expected 1 at least")
    from diffsda.cli.progress import counting
    from diffsda.data.debian import fetch
    from diffsda.data.sprites.design import DESIGNS
    from diffsda.data.sprites.prepare import PACKAGE, arrays_folder, prepare_sprites

    out = Path("datasets", NAME) if options.out is None else options.out
    packages = out.resolve().parent / "packages" if options.packages is None else options.packages
    package = fetch(PACKAGE, packages, root=options.root, tell=_tell)
    with counting() as watch:
        made = prepare_sprites(
            package,
            out,
            DESIGNS[options.design],
            options.size,
            with_arrays=options.arrays,
            jobs=options.jobs,
            tell=_tell,
            watch=watch,
        )
    if options.json:
        beside = str(arrays_folder(out)) if options.arrays else None
        summary = {"out": str(out), "arrays": beside, "name": made.name, "frames": made.frames, "size": made.size}
        print(json.dumps({**summary, "splits": made.splits, "labels": list(made.label_names), **made.options}))
    else:
        print(out)
    return 0


def _tell(words: str) -> None:
    print(f"prepare {NAME}: {words}", file=sys.stderr, flush=True)
