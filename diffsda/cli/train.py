"""diffsda train: a model from clips."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path

import tyro

from diffsda.cli.options import parse
from diffsda.errors import InputError
from diffsda.presets import PRESETS, preset
from diffsda.recipe import Backbone, Clips, Encoder, Noise, Optim, Recipe, Sampling
from diffsda.train.options import Options as How


@dataclass(frozen=True, kw_only=True)
class Options(How):
    """Train a model. The recipe's parts start from the preset; any value can be changed."""

    data: str = ""
    """Clips: a .npz, .npy or .safetensors file, or the name of a data set (its training part)."""
    out: Path = Path()
    """Run folder to make, or to go on in with --resume."""
    dry_run: bool = False
    """Print the resolved recipe and stop."""
    clips: Clips = field(default_factory=Clips)
    backbone: Backbone = field(default_factory=Backbone)
    encoder: Encoder = field(default_factory=Encoder)
    noise: Noise = field(default_factory=Noise)
    sampling: Sampling = field(default_factory=Sampling)
    optim: Optim = field(default_factory=Optim)


def run(argv: list[str]) -> int:
    """Train a model and print its run folder."""
    words = list(argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        raise InputError(f"preset: got none, expected `diffsda train PRESET ...` with one of {', '.join(PRESETS)}")
    base = Recipe() if words[0] in ("-h", "--help") else preset(words.pop(0))
    parts = {name: getattr(base, name) for name in ("clips", "backbone", "encoder", "noise", "sampling", "optim")}
    options = parse(
        tyro.conf.AvoidSubcommands[Options],
        words,
        "train PRESET",
        f"Train a model. Presets: {', '.join(PRESETS)}.",
        default=Options(**parts),
    )
    recipe = Recipe(name=base.name, **{name: getattr(options, name) for name in parts})
    if options.dry_run:
        print(json.dumps({**recipe.to_dict(), "digest": recipe.digest}, indent=1))
        return 0
    if not options.data or options.out == Path():
        missing = "--data" if not options.data else "--out"
        raise InputError(f"{missing}: got nothing, expected clips to train on (--data) and a run folder (--out)")
    return _train(recipe, options)


def _train(recipe: Recipe, options: Options) -> int:
    from diffsda.cli.progress import training_bar
    from diffsda.data.registry import open_clips
    from diffsda.train.loop import train
    from diffsda.train.parallel import leave

    clips = open_clips(options.data, "train")
    if clips.video and not recipe.clips.latent and not options.whiten and clips.x.min() >= 0:
        print("warning: no pixel is below 0; presets for pixels expect [-1, 1] (x * 2 - 1 for [0, 1])", file=sys.stderr)
    how = How(**{f.name: getattr(options, f.name) for f in fields(How)})
    try:
        with training_bar(recipe.name) as say:
            result = train(recipe, clips, options.out, how, progress=say)
    finally:
        leave()
    if int(os.environ.get("RANK", "0")) == 0:
        print(options.out)
    if result.signal is not None:
        print(
            f"stopped by signal {result.signal} at step {result.step}; go on with the same command and --resume",
            file=sys.stderr,
        )
        return 128 + result.signal
    return 0
