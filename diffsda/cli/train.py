"""diffsda train: a model from clips."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any

import tyro

from diffsda.cli.options import parse
from diffsda.errors import InputError
from diffsda.recipe import AnyRecipe, Backbone, Clips, Encoder, Noise, Optim, Recipe, Sampling
from diffsda.systems import listed, preset, recipe_from_dict
from diffsda.train.options import Options as How


@dataclass(frozen=True, kw_only=True)
class Common(How):
    """What training any system can be told."""

    data: str = ""
    """Clips: a .npz, .npy or .safetensors file, a prepared folder, or the name of a data set (its training part)."""
    out: Path = Path()
    """Run folder to make, or to go on in with --resume."""
    dry_run: bool = False
    """Print the resolved recipe and stop."""


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Train a model. The recipe's parts start from the preset; any value can be changed."""

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
        raise InputError(
            f"preset: got none, expected `diffsda train PRESET ...` with a recipe.json or one of {listed()}"
        )
    base = Recipe() if words[0] in ("-h", "--help") else _recipe(words.pop(0))
    recipe, options = _own(words, base) if isinstance(base, Recipe) else _others(words, base)
    if options.dry_run:
        print(json.dumps({**recipe.to_dict(), "digest": recipe.digest}, indent=1))
        return 0
    if not options.data or options.out == Path():
        missing = "--data" if not options.data else "--out"
        raise InputError(f"{missing}: got nothing, expected clips to train on (--data) and a run folder (--out)")
    return _train(recipe, options)


def _own(words: list[str], base: Recipe) -> tuple[AnyRecipe, Common]:
    """Read the options of a preset of DiffSDA."""
    parts = {name: getattr(base, name) for name in ("clips", "backbone", "encoder", "noise", "sampling", "optim")}
    options = _parsed(Options, words, Options(**parts), "Train a model.")
    return Recipe(name=base.name, **{name: getattr(options, name) for name in parts}), options


def _others(words: list[str], base: AnyRecipe) -> tuple[AnyRecipe, Common]:
    """Read the options of a preset of another system, whose settings are its own.

    Raises: InputError for what the system does not have, or has from another part of the recipe.
    """
    kinds = {name: type(getattr(base, name)) for name in ("clips", "settings", "sampling", "optim")}
    system = make_dataclass(
        "System", [(name, kind, field(default=getattr(base, name))) for name, kind in kinds.items()], **_HOW
    )
    both = type("Options", (system, Common), {"__doc__": "Train a model.", "__module__": __name__})
    options: Any = _parsed(dataclass(**_HOW)(both), words, None, f"Train a model of {base.system}.")
    recipe = base.replace(**{name: getattr(options, name) for name in kinds})
    before: Any = base
    for name in (f.name for f in fields(options.settings)):
        given = getattr(options.settings, name)
        if given not in (getattr(before.settings, name), getattr(recipe.settings, name)):  # type: ignore[attr-defined]
            raise InputError(
                f"--settings.{name}: got {given}, expected it to be left out: it follows --clips, --sampling or --optim"
            )
    odd = [f.name for f in fields(Sampling) if f.name != "steps"]
    for name in odd:
        if getattr(options.sampling, name) != getattr(base.sampling, name):
            raise InputError(
                f"--sampling.{name}: got {getattr(options.sampling, name)} for {base.system}, expected it to be left "
                "out: of these, steps alone count for other systems than diffsda"
            )
    return recipe, options


_HOW: Any = {"frozen": True, "kw_only": True}


def _parsed(kind: Any, words: list[str], default: Any, what: str) -> Any:
    about = f"{what} Presets: {listed()}; or a recipe.json."
    flat: Any = tyro.conf.AvoidSubcommands
    return parse(flat[kind], words, "train PRESET", about, default=default)


def _recipe(name: str) -> AnyRecipe:
    """Return a preset of any system, or what a recipe.json says."""
    if not name.endswith(".json"):
        return preset(name)
    try:
        plain = json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: cannot be read ({error}), expected a recipe.json or the name of a preset") from None
    if isinstance(plain, dict):
        plain.pop("digest", None)
    try:
        return recipe_from_dict(plain)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _train(recipe: AnyRecipe, options: Common) -> int:
    from diffsda.cli.progress import training_bar
    from diffsda.data.clip import Clips as Held
    from diffsda.data.registry import open_data
    from diffsda.train.loop import train
    from diffsda.train.parallel import join, leave

    first = int(os.environ.get("RANK", "0")) == 0
    waits: list[float] = []
    try:
        device = str(join(options.device).device)
        clips = open_data(options.data, "train", recipe.clips, loader=options.loader, device=device)
        streamed = not isinstance(clips, Held)
        if not isinstance(clips, Held):
            if first:
                print(f"clips: {clips.describe()}", file=sys.stderr)
        elif _positive(clips, recipe, options):
            print(
                "warning: no pixel is below 0; presets for pixels expect [-1, 1] (2 x - 1 for [0, 1])", file=sys.stderr
            )
        how = How(**{f.name: getattr(options, f.name) for f in fields(How)})
        with training_bar(recipe.name) as say:

            def heard(step: int, total: int, values: dict[str, float]) -> None:
                waits.append(values["data_wait"])
                say(step, total, values)

            result = train(recipe, clips, options.out, how, progress=heard)
    finally:
        leave()
    if first:
        if streamed and waits:
            share = 100 * sum(waits) / len(waits)
            print(f"waited for clips {share:.1f} % of the time", file=sys.stderr)
        print(options.out)
    if result.signal is not None:
        print(
            f"stopped by signal {result.signal} at step {result.step}; go on with the same command and --resume",
            file=sys.stderr,
        )
        return 128 + result.signal
    return 0


def _positive(clips: Any, recipe: AnyRecipe, options: Common) -> bool:
    """Tell whether clips that should be pixels in [-1, 1] look like pixels in [0, 1]."""
    pixels = clips.video and not recipe.clips.latent and not options.whiten
    return bool(pixels and clips.x.min() >= 0)
