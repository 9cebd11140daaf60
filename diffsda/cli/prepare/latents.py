"""diffsda prepare latents: a set of pixels through a first stage, into a cache to train on."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffsda.cli.options import parse
from diffsda.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Encode every frame of a set with a first stage and leave a prepared folder of latents. Killed, it goes on."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """A prepared folder of videos, or clips of pixels."""
    first_stage: str
    """A first stage: a file, or the folder of its training; latent diffusion's own files will do."""
    out: Path | None = None
    """The prepared folder; left out, datasets/ and DATA's name with -latents."""
    size: int = 256
    """Height and width of the pixels that are encoded."""
    batch: int | None = None
    """Frames encoded at once; left out, what suits the device."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda or cuda:N."""
    dtype: Literal["bf16", "float16", "float32"] = "bf16"
    """What latents are stored as."""
    loader: Literal["auto", "dali", "pyav"] = "auto"
    """What decodes videos."""
    overwrite: bool = False
    """Prepare a folder again that is finished, or was begun otherwise."""
    json: bool = False
    """Print a summary as one line of JSON, not the folder alone."""


def run(argv: list[str]) -> int:
    """Encode the set and print its folder. Exit status 1 if some videos cannot be used."""
    options = parse(Options, argv, "prepare latents", "Encode a set of pixels with a first stage, once and for all.")
    if options.batch is not None and options.batch < 1:
        raise InputError(f"--batch: got {options.batch}, expected 1 at least")
    if options.size < 1:
        raise InputError(f"--size: got {options.size}, expected 1 at least")
    from diffsda.cli.progress import counting
    from diffsda.data.problems import Problems
    from diffsda.firststage.files import load_first_stage
    from diffsda.header import newest
    from diffsda.tasks.latents import Wanted, cache_latents, summary
    from diffsda.train.parallel import join

    path = newest(options.first_stage)
    first_stage = load_first_stage(path, device=join(options.device).device)
    out = Path("datasets") / f"{Path(options.data).stem}-latents" if options.out is None else options.out
    problems = Problems(_tell)
    with counting() as watch:
        held = cache_latents(
            options.data,
            first_stage,
            out,
            Wanted(
                size=options.size,
                dtype=options.dtype,
                tile=options.batch,
                loader=options.loader,
                overwrite=options.overwrite,
            ),
            name=path.name,
            problems=problems,
            tell=_tell,
            watch=watch,
        )
    print(json.dumps(summary(held, out, problems)) if options.json else out)
    return 1 if len(problems) else 0


def _tell(words: str) -> None:
    # Names of strangers' files end up in words: they must not steer the terminal.
    print("prepare latents: " + "".join(c if c.isprintable() else "?" for c in words), file=sys.stderr)
