"""diffsda train-first-stage: an autoencoder of frames, for models of latents."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from diffsda.cli.options import parse
from diffsda.errors import InputError
from diffsda.firststage.recipe import CONFIGURATIONS, FirstStage, configuration
from diffsda.train.first_stage_options import FITS, FirstStageOptions, Fit, Plan

if TYPE_CHECKING:
    from diffsda.train.first_stage import Result

VERB = "train-first-stage"


@dataclass(frozen=True, kw_only=True)
class Options(FirstStageOptions):
    """Fit a first stage. Its parts start from the configuration; any value can be changed."""

    data: str = ""
    """Frames in [-1, 1]: a prepared folder, a file of clips, or the name of a data set (its training part)."""
    out: Path = Path()
    """Run folder to make, or to go on in with --resume."""
    start: Path | None = None
    """Begin with the weights of this first stage: ours, a run folder, or a latent-diffusion .ckpt."""
    perceptual: tuple[Path, ...] = ()
    """Weights of the perceptual distance (LPIPS with VGG16), in one file or two; a latent-diffusion .ckpt has them."""
    dry_run: bool = False
    """Print what would be fitted and stop."""
    json: bool = False
    """Print JSON instead of the path: out, step, digest, psnr of some frames."""
    net: FirstStage = field(default_factory=FirstStage)
    fit: Fit = field(default_factory=Fit)


def run(argv: list[str]) -> int:
    """Fit a first stage and print its run folder."""
    words = list(argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        raise InputError(
            f"configuration: got none, expected `diffsda {VERB} CONFIG ...` with one of {', '.join(CONFIGURATIONS)}"
        )
    name = "vq8" if words[0] in ("-h", "--help") else words.pop(0)
    options = parse(
        tyro.conf.AvoidSubcommands[Options],
        words,
        f"{VERB} CONFIG",
        f"Fit a first stage on frames. Configurations: {', '.join(CONFIGURATIONS)}.",
        default=Options(net=configuration(name), fit=FITS[name]),
    )
    if options.dry_run:
        plan = Plan(name=name, stage=options.net, fit=options.fit)
        print(json.dumps({**plan.to_dict(), "digest": plan.digest}, indent=1))
        return 0
    if not options.data or options.out == Path():
        missing = "--data" if not options.data else "--out"
        raise InputError(f"{missing}: got nothing, expected frames to fit on (--data) and a run folder (--out)")
    return _fit(name, options)


def _fit(name: str, options: Options) -> int:
    from diffsda.cli.progress import training_bar
    from diffsda.data.clip import Clips
    from diffsda.data.registry import open_data
    from diffsda.firststage.files import load_first_stage
    from diffsda.firststage.perceptual import load_perceptual
    from diffsda.recipe import Clips as Form
    from diffsda.train.first_stage import fit
    from diffsda.train.parallel import join

    net = options.net
    # Of a longer video any frame will do, and one at a time.
    form = Form(modality="video", frames=1, channels=net.channels, size=net.size, window="anywhere")
    data = open_data(options.data, "train", form, device=str(join(options.device).device))
    if isinstance(data, Clips) and data.x.min() >= 0:
        _tell("warning: no pixel is below 0, expected them in [-1, 1] (x * 2 - 1 for [0, 1])")
    start = None if options.start is None else load_first_stage(options.start)
    perceptual = load_perceptual(options.perceptual) if options.perceptual else None
    if perceptual is None and options.fit.perceptual:
        _tell("no --perceptual weights: frames are compared by L1 and the discriminator alone")
    plan = Plan(
        name=name,
        stage=net,
        fit=options.fit,
        begun_from=None if start is None else start.digest(),
        perceptual=None if perceptual is None else perceptual.digest(),
    )
    how = FirstStageOptions(**{f.name: getattr(options, f.name) for f in fields(FirstStageOptions)})
    with training_bar(name, "frames") as say:

        def show(step: int, total: int, values: dict[str, float]) -> None:
            say(step, total, {**values, "clips_per_s": values["frames_per_s"]})

        result = fit(plan, data, options.out, how, start=start, perceptual=perceptual, progress=show, tell=_tell)
    _draw(result, plan, options.out)
    about = {"out": str(options.out), "step": result.step, "digest": result.model.digest(), "psnr": result.psnr}
    print(json.dumps(about) if options.json else options.out)
    _tell(f"{len(result.frames)} frames come back at {result.psnr:.1f} dB")
    if result.signal is not None:
        _tell(f"stopped by signal {result.signal} at step {result.step}; go on with the same command and --resume")
        return 128 + result.signal
    return 0


def _tell(words: str) -> None:
    # Names of strangers' files end up in words: they must not steer the terminal.
    print("".join(c if c.isprintable() else "?" for c in words), file=sys.stderr, flush=True)


def _draw(result: Result, plan: Plan, folder: Path) -> None:
    """Draw some frames above what came back of them, where they are pictures."""
    import numpy as np

    from diffsda.report.strip import save, strip

    if plan.stage.channels not in (1, 3):
        return
    both = np.stack([result.frames.numpy(), result.back.numpy()])
    figure = strip(both, titles=["frames", "as they come back"], limits=(-1, 1))
    about = {"recipe": plan.digest, "checkpoint": result.model.digest(), "seed": plan.fit.seed}
    path = folder / "figures" / "reconstructions.png"
    save(figure, path, **about, step=result.step, psnr=round(result.psnr, 3))
    print(path, file=sys.stderr)
