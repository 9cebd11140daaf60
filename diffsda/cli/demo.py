"""diffsda demo: train on embedded real data, swap, score, draw."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsda.cli.options import parse
from diffsda.errors import InputError, TrainingError

if TYPE_CHECKING:
    from diffsda.evaluate.disentanglement import Scores
    from diffsda.model import StartNoise

POLICIES: tuple[StartNoise, ...] = ("dynamic", "fresh")
LABEL = "speaker"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train on embedded real speech (Japanese Vowels), swap, score and draw."""

    out: Path = Path("runs/demo")
    """Run folder; with several seeds, one folder a seed inside it."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of training; several print the mean and the spread."""
    steps: int | None = None
    """Training steps instead of the preset's, for a quick look."""
    validate: bool = False
    """Score on a held-out third of the training part instead of the test part, as for tuning."""
    threads: int = 1
    """CPU threads. The matrices are small: a second thread gains little, and loses tenfold where cores are shared."""
    record: Path | None = None
    """Write the scores as JSON, for the README's table."""
    overwrite: bool = False
    """Replace the run folder of an earlier demo."""


def run(argv: list[str]) -> int:
    """Run the demonstration; the last line printed is JSON with the scores."""
    options = parse(Options, argv, "demo", "Train on embedded real speech, swap, score and draw.")
    if not options.seeds or min(options.seeds) < 0 or len(set(options.seeds)) < len(options.seeds):
        raise InputError(f"--seeds: got {options.seeds}, expected different whole numbers >= 0")
    if options.threads < 1:
        raise InputError(f"--threads: got {options.threads}, expected at least 1")
    if options.record is not None and not options.record.parent.is_dir():
        raise InputError(f"--record: there is no folder {options.record.parent}; make it first")
    place = _make_room(options.out, overwrite=options.overwrite)
    import torch

    torch.set_num_threads(min(options.threads, os.cpu_count() or 1))
    results = []
    for seed in options.seeds:
        folder = place if len(options.seeds) == 1 else place / f"seed-{seed}"
        results.append(_one(folder, seed, options))
    if place != options.out:
        shutil.rmtree(options.out)
        place.rename(options.out)
    print(
        f"open {options.out / ('index.html' if len(results) == 1 else f'seed-{options.seeds[0]}/index.html')}",
        file=sys.stderr,
    )
    line = results[0] if len(results) == 1 else _spread(results)
    if options.record is not None:
        from diffsda.report.files import write
        from diffsda.train.log import provenance

        about = {k: v for k, v in provenance().items() if k != "command"}
        text = json.dumps({"about": about, "results": results}, indent=1) + "\n"
        write(options.record, text.encode())
    print(json.dumps(line))
    return 0


def _one(folder: Path, seed: int, options: Options) -> dict[str, Any]:
    """Train, score and draw with one seed."""
    from diffsda.cli.progress import training_bar
    from diffsda.data.registry import open_clips
    from diffsda.evaluate.disentanglement import score
    from diffsda.firststage.clips import whitened
    from diffsda.inference import Session
    from diffsda.model import DiffSDA
    from diffsda.presets import preset
    from diffsda.report.demo import write_demo
    from diffsda.report.files import write
    from diffsda.train.loop import train
    from diffsda.train.options import Options as How

    began = time.perf_counter()
    recipe = preset("demo").replace(optim={"seed": seed})
    if options.steps is not None:
        recipe = recipe.replace(optim={"steps": options.steps})
    fit = open_clips("japanese_vowels", "train")
    # The test part is opened here, once, for the final scores; tuning uses --validate.
    fit, test = fit.split(1 / 3, 0, LABEL) if options.validate else (fit, open_clips("japanese_vowels", "test"))
    with training_bar(f"demo, seed {seed}") as say:
        result = train(recipe, fit, folder, How(device="cpu"), progress=say)
    if not result.finished:
        raise TrainingError(f"the demo was stopped at step {result.step}; run it again (an earlier one is untouched)")
    model = result.model
    assert isinstance(model, DiffSDA)  # Of DiffSDA's own preset.
    trained = time.perf_counter() - began
    fit, test = whitened(fit, model.whitening), whitened(test, model.whitening)
    scores = score(Session(model), fit, test, label=LABEL, noises=POLICIES, seed=seed)
    split = "a held-out third of the training split" if options.validate else "the official test split"
    write_demo(folder, model, test, scores, label=LABEL, seed=seed, split=split)
    line = _line(scores, seed)
    line |= {"train_seconds": round(trained, 1), "seconds": round(time.perf_counter() - began, 1)}
    write(folder / "scores.json", (json.dumps(line, indent=1) + "\n").encode())
    return line


def _line(scores: Scores, seed: int) -> dict[str, Any]:
    """Return the scores flat: swaps from the first start noise plainly, from the others under their name."""
    line: dict[str, Any] = {"seed": seed, **dataclasses.asdict(scores)}
    for noise, made in line.pop("swaps").items():
        suffix = "" if noise == POLICIES[0] else f"_{noise}_noise"
        for name, value in made.items():
            line[f"{'swap_' if name.startswith('read') else ''}{name}{suffix}"] = value
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in line.items()}


def _spread(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of every score over the seeds, and half the range beside it."""
    line: dict[str, Any] = {"seeds": [r["seed"] for r in results]}
    for name in results[0]:
        if name != "seed":
            values = [r[name] for r in results]
            line[name] = round(sum(values) / len(values), 5)
            line[f"{name}_spread"] = round((max(values) - min(values)) / 2, 5)
    return line


def _make_room(folder: Path, *, overwrite: bool) -> Path:
    """Return the folder to work in: the one asked for, or one beside an earlier demo, which stays until the end.

    Raises: InputError if the folder holds anything but an earlier demo that may be replaced.
    """
    beside = folder.with_name(f".{folder.name}.new")
    if beside.is_dir() and any(beside.glob("**/recipe.json")):
        shutil.rmtree(beside)  # left by a demo that was stopped
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return folder
    ours = folder.is_dir() and any(folder.glob("**/recipe.json"))
    if not overwrite or not ours:
        raise InputError(
            f"--out: {folder} exists already, expected a new folder"
            + (" (or --overwrite to replace the earlier demo)" if ours else "")
        )
    return beside
