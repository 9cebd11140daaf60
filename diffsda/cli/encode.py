"""diffsda encode: clips -> static and dynamic factors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffsda.cli.options import WithModel, parse


@dataclass(frozen=True, kw_only=True)
class Options(WithModel):
    """Take clips apart into one static and many dynamic factors."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, or a run folder."""
    input: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CLIPS")]
    """Clips: a .npz, .npy or .safetensors file with x (N, V, C, H, W) or (N, V, F), or the name of a data set."""
    out: Path
    """File for the factors: static, dynamic, and lengths if the clips have them (.npz or .safetensors)."""


def run(argv: list[str]) -> int:
    """Encode clips and write their factors."""
    options = parse(Options, argv, "encode", "Take clips apart into static and dynamic factors.")
    from diffsda.cli.clips import fresh_file, open_session
    from diffsda.cli.units import Units
    from diffsda.data.arrays import write
    from diffsda.errors import InputError
    from diffsda.tasks.encode import encode

    if options.out.suffix == ".npy":
        raise InputError(f"--out: got {options.out}, expected .npz or .safetensors: there are two arrays to keep")
    fresh_file(options.out, overwrite=options.overwrite)
    session = open_session(options.model, options)
    clips = Units.of(session, options).open(options.input, options.split)
    factors = encode(session, clips, batch=options.batch)
    arrays = {"static": factors.static.numpy(), "dynamic": factors.dynamic.numpy()}
    if clips.lengths is not None:
        arrays["lengths"] = clips.lengths
    write(options.out, arrays, overwrite=options.overwrite)
    print(options.out)
    return 0
