"""diffsda import: weights of the authors' code -> a model file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffsda.cli.options import parse


@dataclass(frozen=True, kw_only=True)
class Options:
    """Turn weights of the authors' code into a model file."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
    """The authors' state dict: .pth or .safetensors."""
    out: Path
    """The model file to write (.safetensors)."""
    preset: str | None = None
    """Preset for what weights cannot say (P_mean, steps, frames); sizes always come from the weights."""
    stats: Path | None = None
    """Latent statistics: an npz with mean and std or variance."""
    unshared: bool = False
    """The weights are of the ablation with one static factor a frame."""
    overwrite: bool = False
    json: bool = False
    """Print JSON instead of the path."""


def run(argv: list[str]) -> int:
    """Import weights and say what was assumed and left out."""
    options = parse(Options, argv, "import", "Turn weights of the authors' code into a model file.")
    from diffsda.authors import load_authors
    from diffsda.checkpoint import save
    from diffsda.cli.clips import fresh
    from diffsda.errors import InputError

    if options.out.suffix != ".safetensors":
        raise InputError(f"--out: got {options.out}, expected a file ending in .safetensors")
    fresh(options.out, overwrite=options.overwrite)
    shared = False if options.unshared else None
    model = load_authors(options.path, options.preset, options.stats, shared_static=shared)
    save(model, options.out, overwrite=options.overwrite)
    about = model.provenance
    for line in about["assumed"]:
        print(f"assumed: {line} (name a --preset to set it)", file=sys.stderr)
    if about["dead"]:
        print(f"left out: {about['dead']} tensors of the authors' unused cross-attention", file=sys.stderr)
    if about["ignored_count"]:
        names = ", ".join(about["ignored"][:5])
        print(f"left out: {about['ignored_count']} tensors this model does not know ({names})", file=sys.stderr)
    print(json.dumps({"out": str(options.out), **about}) if options.json else options.out)
    return 0
