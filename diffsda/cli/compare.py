"""diffsda compare: systems beside each other on a data set, in one table and one figure."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from diffsda.cli.options import parse
from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.cli.evaluate import Options as Asked
    from diffsda.cli.evaluation import Evaluation
    from diffsda.compare.course import Parts
    from diffsda.data.clip import Clips
    from diffsda.data.stream import Stream
    from diffsda.evaluate.job import Job
    from diffsda.evaluate.record import Result
    from diffsda.recipe import AnyRecipe


@dataclass(frozen=True, kw_only=True)
class Options:
    """Set systems beside each other: train or load each, score all alike, write one table and one figure."""

    recipes: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")] = ()
    """Presets of any system or recipe.json files, which are trained; run folders or model files, which are loaded."""
    data: str = ""
    """A prepared folder or the name of a data set; a file of training clips with --test."""
    test: str | None = None
    """Clips to score, where --data is a file."""
    out: Path = Path()
    """Folder to make, or a comparison to go on with: nothing in it is trained twice."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds; several give intervals."""
    steps: int | None = None
    """Steps of every training; left open, with --seconds too, those of each recipe."""
    seconds: float | None = None
    """Seconds of every training on this machine, in place of --steps."""
    trials: int | None = None
    """Tune every system first, with so many variations each, scored on the validation part alone."""
    grid: Path | None = None
    """Variations (.json): by recipe or system a list of overrides; left open, learning rates around the recipe's."""
    criterion: str | None = None
    """What trials are chosen by: joint, eer-gap, static or reconstruction; left open, the first the labels allow."""
    judged_seeds: tuple[int, ...] = (0,)
    """Seeds of pairs and start noise, the same for all systems."""
    judge_seed: int = 0
    """Seed of the judges' training, the same for all systems."""
    protocols: tuple[str, ...] | None = None
    """Left open, swap-labels, eer, reconstruction and verification as far as the set allows them."""
    set: tuple[str, ...] = ()
    """Settings of protocols, PROTOCOL.NAME=VALUE each."""
    count: int | None = None
    """Score so many clips of the test part, the same for all systems; left open, all."""
    static: tuple[str, ...] | None = None
    """Labels of what a clip keeps; left open, what is known of the set."""
    dynamic: tuple[str, ...] | None = None
    """Labels of what happens in it; left open, what is known of the set."""
    batch: int = 64
    """Clips scored at a time."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads; left open, torch's own number."""
    rows: int = 4
    """Pairs in the figure."""
    judge: tuple[str, ...] = ()
    """Judges by kind, KIND=NAME each, as in `diffsda evaluate`."""
    json: bool = False
    """Print the record as JSON instead of the table's path."""


def run(argv: list[str]) -> int:
    """Compare, print the path of the table; the table itself goes to stderr."""
    options = parse(Options, argv, "compare", "Set systems beside each other on a data set.")
    _check(options)
    import torch

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    from diffsda.cli.evaluation import _named
    from diffsda.compare.budget import Budget, Stopped
    from diffsda.compare.course import Course
    from diffsda.compare.entries import entries
    from diffsda.compare.plan import Plan
    from diffsda.compare.record import NAME
    from diffsda.compare.table import table
    from diffsda.evaluate.protocols import protocol

    settings: dict[str, dict[str, Any]] = {}
    for name, value in _named("--set", options.set).items():
        of, dot, setting = name.partition(".")
        if not dot:
            raise InputError(f"--set: got {name!r}, expected PROTOCOL.NAME=VALUE")
        settings.setdefault(of, {})[setting] = value
    for name in (*settings, *(options.protocols or ())):
        protocol(name).checked(settings.get(name, {}))
    plan = Plan(
        entries=entries(options.recipes),
        data=options.data if options.test is None else f"{options.data} {options.test}",
        out=options.out,
        seeds=options.seeds,
        budget=Budget(steps=options.steps, seconds=options.seconds),
        judged_seeds=options.judged_seeds,
        judge_seed=options.judge_seed,
        protocols=options.protocols,
        settings=settings,
        trials=options.trials,
        grid=options.grid,
        criterion=options.criterion,
        training={"device": options.device},
        scoring={
            "count": options.count,
            "static": options.static,
            "dynamic": options.dynamic,
            "judge": sorted(options.judge),
        },
        pairs_drawn=options.rows,
    )
    try:
        made = Course(plan, CommandWays(options)).run()
    except Stopped as stop:
        print(f"stopped by signal {stop.signal}: {stop}; go on with the same command", file=sys.stderr)
        return 128 + stop.signal
    print((options.out / NAME).read_text() if options.json else options.out / "compare.md")
    print(table(made), file=sys.stderr, end="")
    return 0


def _check(options: Options) -> None:
    """Refuse what cannot be, before anything is opened."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("compare: got several processes, expected one: start it without torchrun")
    if not options.data or options.out == Path():
        missing = "--data" if not options.data else "--out"
        raise InputError(f"{missing}: got nothing, expected clips to compare on (--data) and a folder (--out)")
    if Path(options.data).is_file() and options.test is None:
        raise InputError(f"--test: got none, expected clips to score: the file {options.data} has no parts")
    if not Path(options.data).is_file() and options.test is not None:
        raise InputError(f"--test: got {options.test} beside {options.data}, expected it with a file of clips alone")
    for name, least in (("threads", 1), ("rows", 1), ("count", 2), ("batch", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise InputError(f"--{name}: got {value}, expected at least {least}")


class CommandWays:
    """Clips and scores as `diffsda evaluate` has them."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def training(self, recipe: AnyRecipe) -> Clips | Stream:
        """Open the training part as a recipe reads it."""
        from diffsda.data.registry import open_data
        from diffsda.train.parallel import join

        return open_data(self.options.data, "train", recipe.clips, device=str(join(self.options.device).device))

    def parts(self, recipe: AnyRecipe, split: str) -> Parts | None:
        """Open the training part and another; None where the set has no part of that name."""
        from diffsda.cli.evaluation import _shared, _some
        from diffsda.compare.course import Parts
        from diffsda.data.registry import open_clips
        from diffsda.evaluate.roles import roles

        options = self.options
        if split == "val" and not self._validated():
            return None
        fit = open_clips(options.data, "train", recipe.clips)
        source = options.test if split == "test" and options.test is not None else options.data
        test = fit if split == "train" else open_clips(source, split, recipe.clips)
        if split != "train" and fit.fingerprint() == test.fingerprint():
            raise InputError("--test: got the clips that are trained on, expected others")
        shared = _shared(fit, test) if split == "test" and options.test is not None else 0
        if shared:
            self.say(f"warning: {shared} of the {len(test)} clips that are scored are among those that are trained on")
        if options.count is not None and split == "test" and options.count < len(test):
            test = test.select(_some(test, options.count))
        static, dynamic = roles(self._name(test), tuple(test.labels), options.static, options.dynamic)
        return Parts(fit, test, split, static, dynamic, shared)

    def evaluate(
        self, protocol: str, models: Sequence[str], out: Path, parts: Parts, settings: dict[str, Any]
    ) -> Result:
        """Score models by a protocol with every judged seed; take what was scored already from disk."""
        from diffsda.evaluate.record import Result
        from diffsda.evaluate.run import Journal

        evaluation = self._evaluation(protocol, models, out, parts, settings)
        if out.is_file():
            held = Result.read(out)
            # The seeds are the same as long as the folder is.
            if held.provenance.get("key") == evaluation.key:
                return held
        journal = Journal(out.with_name(f".{out.stem}.seeds.jsonl"), evaluation.key)
        result = evaluation.result(journal)
        result.write(out)
        journal.drop()
        return result

    def job(self, model: str, parts: Parts, seed: int, settings: dict[str, Any]) -> Job:
        """Return the work of swap-labels on one model, with its settings."""
        from diffsda.tasks.batches import silent

        out = self.options.out / "eval" / "none.json"
        evaluation = self._evaluation("swap-labels", [model], out, parts, settings)
        return evaluation.job(0, seed, silent)

    def watch(self, words: str) -> AbstractContextManager[Any]:
        """Show how far a training is."""
        from diffsda.cli.progress import training_bar

        return training_bar(words)

    def say(self, words: str) -> None:
        """Say what is being done."""
        print(words, file=sys.stderr, flush=True)

    def faces(self, name: str) -> bool:
        """Tell whether people can be verified in a set: whether the papers do it."""
        from diffsda.evaluate.published import published

        return bool(published("verification", name))

    def _evaluation(
        self, protocol: str, models: Sequence[str], out: Path, parts: Parts, settings: dict[str, Any]
    ) -> Evaluation:
        from diffsda.cli.evaluation import Evaluation
        from diffsda.evaluate.protocols import protocol as known

        return Evaluation(self._asked(protocol, models, parts, settings), known(protocol), out, (parts.fit, parts.test))

    def _asked(self, protocol: str, models: Sequence[str], parts: Parts, settings: dict[str, Any]) -> Asked:
        """Return the options of `diffsda evaluate` that score models so."""
        from diffsda.cli.evaluate import Options as Asked

        options = self.options
        return Asked(
            protocol=protocol,
            models=tuple(models),
            data=options.data,
            split=parts.split,
            seeds=options.judged_seeds,
            static=parts.static,
            dynamic=parts.dynamic,
            set=tuple(f"{name}={json.dumps(value)}" for name, value in settings.items()),
            judge=options.judge,
            cache=options.out / "judged",
            batch=options.batch,
            device=options.device,
            precision="float32",
            count=options.count if parts.split == "test" else None,
        )

    def _validated(self) -> bool:
        """Tell whether the set has a validation part of its own."""
        from diffsda.data.prepared import Dataset, is_prepared

        return is_prepared(self.options.data) and "val" in Dataset.read(self.options.data).splits

    def _name(self, clips: Clips) -> str:
        from diffsda.cli.evaluation import _set_name

        return _set_name(Path(self.options.data) if Path(self.options.data).is_dir() else None, clips)
