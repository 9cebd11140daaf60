"""A comparison from its plan to its table: tune, train, score, time, draw; what is done already is not done again."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from diffsda.atomic import atomic_write
from diffsda.compare import timing
from diffsda.compare.budget import Pace, Tell, measured_pace, warm_up_steps, with_steps
from diffsda.compare.drawn import draw
from diffsda.compare.entries import Entry, check_clips, check_forms, check_same, parameters
from diffsda.compare.plan import Plan, protocols_of, settings_of
from diffsda.compare.record import NAME, Comparison, Scored
from diffsda.compare.runs import Run, trained
from diffsda.compare.same import judges_of, same_pairs
from diffsda.compare.table import OTHER_JUDGES, document
from diffsda.compare.trials import Criterion, Trial, best, criterion, grids, held_out, varied
from diffsda.errors import TrainingError
from diffsda.recipe import AnyRecipe

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.data.stream import Stream
    from diffsda.evaluate.job import Job
    from diffsda.evaluate.record import Result


@dataclass(frozen=True)
class Loaded:
    """A model that is not trained here."""

    folder: str

    @property
    def spent(self) -> dict[str, Any]:
        """Nothing that is known."""
        return {"seconds": None, "planned": None}


Trained = Run | Loaded | str
"""A training's run, a model from elsewhere, or why there is none."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Clips that judges and probes are fitted on, and clips that are scored."""

    fit: Clips
    test: Clips
    split: str
    static: tuple[str, ...]
    dynamic: tuple[str, ...]
    shared: int = 0
    """How many of the scored clips are among those that are trained on."""


class Ways(Protocol):
    """How clips are opened and models are scored, as `diffsda evaluate` does it."""

    def training(self, recipe: AnyRecipe) -> Clips | Stream:
        """Open the training part as a recipe reads it."""

    def parts(self, recipe: AnyRecipe, split: str) -> Parts | None:
        """Open the training part and another; None where the set has no part of that name."""

    def evaluate(
        self, protocol: str, models: Sequence[str], out: Path, parts: Parts, settings: dict[str, Any]
    ) -> Result:
        """Score models by a protocol with every judged seed; take what was scored already from disk."""

    def job(self, model: str, parts: Parts, seed: int, settings: dict[str, Any]) -> Job:
        """Return the work of swap-labels on one model, with its settings."""

    def watch(self, words: str) -> AbstractContextManager[Tell]:
        """Show how far a training is."""

    def say(self, words: str) -> None:
        """Say what is being done."""

    def faces(self, name: str) -> bool:
        """Tell whether people can be verified in a set of that name."""


class Course:
    """One comparison."""

    def __init__(self, plan: Plan, ways: Ways) -> None:
        self.plan, self.ways, self.out = plan, ways, plan.out
        check_forms(plan.entries)
        # Opened once for all that read the set alike: it may fill much of the memory.
        kinds = {one.recipe.clips: one.recipe for one in plan.entries}
        opened = {kind: ways.training(recipe) for kind, recipe in kinds.items()}
        self.clips = {one.name: opened[one.recipe.clips] for one in plan.entries}
        for one in plan.entries:
            check_clips(one, self.clips[one.name])
        check_same(plan.entries, self.clips)
        self.grids = None if plan.trials is None else grids(plan.entries, plan.trials, plan.grid)
        plan.keep(plan.to_dict(self.clips[plan.entries[0].name]))
        self.paces = {name: Pace.from_plain(held) for name, held in self._read("rates.json").items()}

        self.warned: set[tuple[str, str]] = set()

    def run(self) -> Comparison:
        """Do all that is left to do and write the record, the table and the figure."""
        tuning, chosen = self._tune()
        runs = self._train({one.name: chosen[one.name][0] for one in self.plan.entries})
        parts = self.ways.parts(self.plan.entries[0].recipe, "test")
        assert parts is not None
        self.plan.add("test clips", [len(parts.test), parts.test.fingerprint()])
        made = self._score(parts, runs, chosen, tuning)
        made.write(self.out / NAME)
        atomic_write(self.out / "compare.md", lambda file: file.write(document(made).encode()))
        return made

    def _tune(self) -> tuple[dict[str, Any] | None, dict[str, tuple[AnyRecipe, list[Trial], int | None]]]:
        """Return what was tuned, and by system the recipe to train, its trials, and which was chosen."""
        plain: dict[str, tuple[AnyRecipe, list[Trial], int | None]] = {
            one.name: (one.recipe, [], None) for one in self.plan.entries
        }
        if self.grids is None:
            return None, plain
        parts, where = self._validation()
        rule = criterion(self.plan.criterion, parts.test, parts.static, parts.dynamic)
        for one in self.plan.entries:
            tried = [
                self._trial(one, number, overrides, parts, rule)
                for number, overrides in enumerate(self.grids.get(one.name, []))
            ]
            if tried:
                place = best(tried)
                plain[one.name] = (varied(one.recipe, tried[place].overrides), tried, place)
        about = {"trials": self.plan.trials, "criterion": rule.name, "words": rule.words, "part": where}
        grid = None if self.plan.grid is None else str(self.plan.grid)
        held = {"clips": len(parts.test), "fitted_on": len(parts.fit), "fingerprint": parts.test.fingerprint()}
        return {**about, **held, "grid": grid}, plain

    def _validation(self) -> tuple[Parts, str]:
        """Return what trials are trained and scored on: the set's own validation part, or some of the training part."""
        recipe = self.plan.entries[0].recipe
        own = self.ways.parts(recipe, "val")
        if own is not None:
            return own, "the set's validation part"
        parts = self.ways.parts(recipe, "train")
        assert parts is not None
        fit, test = held_out(parts.test, parts.static)
        return Parts(fit, test, "val", parts.static, parts.dynamic), "the training part, held out"

    def _trial(self, entry: Entry, number: int, overrides: dict[str, Any], parts: Parts, rule: Criterion) -> Trial:
        """Train and score one variation; one that diverges has no score."""
        name = f"{entry.row}-{number}"
        recipe, run = self._once(
            varied(entry.recipe, overrides), parts.fit, f"trials/{name}", f"{entry.name}, trial {number + 1}"
        )
        details: dict[str, Any] = {"recipe": recipe.digest, "steps": recipe.optim.steps}
        if isinstance(run, str):
            return Trial(overrides=overrides, reason=run, details=details)
        settings = settings_of(rule.protocol, parts.test, parts.static, self.plan)
        place = run.folder.with_name(f"{name}.json")
        result = self.ways.evaluate(rule.protocol, [str(run.folder)], place, parts, settings)
        score, reason = rule.score(result)
        return Trial(overrides=overrides, score=score, reason=reason, details={**details, "seconds": run.seconds})

    def _train(self, recipes: dict[str, AnyRecipe]) -> dict[str, list[Trained]]:
        """Return the models of every system, trained with every seed, or where they were loaded from.

        Raises: TrainingError if no training left a model.
        """
        out: dict[str, list[Trained]] = {one.name: [Loaded(path) for path in one.loaded] for one in self.plan.entries}
        for seed in self.plan.seeds:
            for one in self.plan.entries:
                if one.loaded:
                    continue
                recipe = recipes[one.name].replace(optim={"seed": seed})
                where, words = f"runs/{one.row}-{seed}", f"{one.name}, seed {seed}"
                _, run = self._once(recipe, self.clips[one.name], where, words, pace=one.row)
                out[one.name].append(run)
        if all(isinstance(run, str) for held in out.values() for run in held):
            reasons = "; ".join(f"{name}: {held[0]}" for name, held in out.items())
            raise TrainingError(f"no training left a model: {reasons}")
        return out

    def _once(
        self, recipe: AnyRecipe, clips: Clips | Stream, where: str, words: str, pace: str = ""
    ) -> tuple[AnyRecipe, Run | str]:
        """Return a recipe with its steps and its run in a folder, or why there is none; what diverged once would again.

        pace: under which name its pace is kept; left open, its own.
        """
        failed = self.out / f"{where}.failed"
        if failed.is_file():
            return recipe, failed.read_text(encoding="utf-8")
        try:
            recipe = self._budgeted(recipe, clips, pace or where)
            return recipe, self._run(recipe, clips, self.out / where, words)
        except TrainingError as error:
            reason = f"training failed: {error}"
        failed.parent.mkdir(exist_ok=True)
        atomic_write(failed, lambda file: file.write(reason.encode()))
        self.ways.say(f"{words}: {reason}")
        return recipe, reason

    def _run(self, recipe: AnyRecipe, clips: Clips | Stream, folder: Path, words: str) -> Run:
        with self.ways.watch(words) as tell:
            options = dict(self.plan.training)
            return trained(recipe, clips, folder, tell, seconds=self.plan.budget.seconds, options=options)

    def _budgeted(self, recipe: AnyRecipe, clips: Clips | Stream, name: str) -> AnyRecipe:
        """Return a recipe with its steps; how fast it is trained is measured once and kept."""
        if self.plan.budget.seconds is not None and name not in self.paces:
            self.ways.say(f"{name}: measuring how fast it is trained")
            options = {key: value for key, value in self.plan.training.items() if key in ("device", "loader")}
            self.paces[name] = measured_pace(recipe, clips, self.out / "warm-up", options)
            self._write("rates.json", self._rates())
        made = with_steps(recipe, len(clips), self.plan.budget, self.paces.get(name))
        for words in early_ends(made, len(clips)):
            if (name, words) not in self.warned:
                self.warned.add((name, words))
                self.ways.say(f"warning: {name}: {words}")
        return made

    def _rates(self) -> dict[str, Any]:
        return {name: pace.to_plain() for name, pace in self.paces.items()}

    def _score(
        self,
        parts: Parts,
        runs: dict[str, list[Trained]],
        chosen: dict[str, tuple[AnyRecipe, list[Trial], int | None]],
        tuning: dict[str, Any] | None,
    ) -> Comparison:
        from diffsda.train.log import provenance

        plan = self.plan
        paths = {name: [str(run.folder) for run in held if not isinstance(run, str)] for name, held in runs.items()}
        there = [one for one in plan.entries if paths[one.name]]
        wanted = plan.protocols or protocols_of(
            parts.test, parts.static, parts.dynamic, self.ways.faces(parts.test.name)
        )
        rows: dict[str, dict[str, Result]] = {one.name: {} for one in plan.entries}
        for protocol in wanted:
            for one in there:
                self.ways.say(f"{one.name}: {protocol}")
                place = self.out / "eval" / one.row / f"{protocol}.json"
                place.parent.mkdir(parents=True, exist_ok=True)
                settings = settings_of(protocol, parts.test, parts.static, plan)
                rows[one.name][protocol] = self.ways.evaluate(protocol, paths[one.name], place, parts, settings)
        jobs = {one.name: self._job(paths[one.name][0], parts, plan.judged_seeds[0]) for one in there}
        pairs = {str(plan.judged_seeds[0]): same_pairs(list(jobs.values()))}
        for seed in plan.judged_seeds[1:]:
            pairs[str(seed)] = same_pairs([self._job(paths[there[0].name][0], parts, seed)])
        judges = judges_of(jobs) if "swap-labels" in wanted else {}
        if len(set(judges.values())) > 1:
            self.ways.say(f"warning: {OTHER_JUDGES}")
        self.ways.say("timing swaps")
        plain = {name: (job, timing.plain_model(job, paths[name][0])) for name, job in jobs.items()}
        prepared = {name: (job, job.model) for name, (job, model) in plain.items() if model is not job.model}
        took = timing.swap_seconds([*plain.values(), *prepared.values()])
        seconds = dict(zip(plain, took[: len(plain)], strict=True))
        faster = dict(zip(prepared, took[len(plain) :], strict=True))
        systems = [
            dataclasses.replace(
                self._scored(one, chosen[one.name], runs[one.name], rows[one.name], jobs.get(one.name)),
                swap_seconds=seconds.get(one.name, {}),
                prepared_seconds=faster.get(one.name, {}),
            )
            for one in plan.entries
        ]
        self.ways.say("drawing")
        if not draw(jobs, plan.pairs_drawn, self.out / "compare.png"):
            self.ways.say("no figure: nobody can look at latents")
        machine = {name: value for name, value in provenance().items() if name not in ("command", "kernels", "device")}
        machine |= {"cores": os.cpu_count(), "trained_on": _device(str(plan.training.get("device", "auto")))}
        budget = {"steps": plan.budget.steps, "seconds": plan.budget.seconds, "words": plan.budget.words}
        some = next(iter(jobs.values()))
        return Comparison(
            data=parts.test.name,
            systems=systems,
            seeds=plan.seeds,
            judged_seeds=plan.judged_seeds,
            judge_seed=plan.judge_seed,
            budget={**budget, "rates": self._rates()},
            tuning=tuning,
            pairs=pairs,
            clips={
                "train": len(self.clips[plan.entries[0].name]),
                "train_fingerprint": self.clips[plan.entries[0].name].fingerprint(),
                "test": len(parts.test),
                "test_fingerprint": parts.test.fingerprint(),
                "shared": parts.shared,
            },
            timing={"batch": timing.batch(some), "repeats": timing.REPEATS, "plain": True},
            machine=machine,
            judges=judges,
        )

    def _job(self, model: str, parts: Parts, seed: int) -> Job:
        """Return the work of swap-labels as it is scored: with its settings, which decide the pairs."""
        return self.ways.job(model, parts, seed, settings_of("swap-labels", parts.test, parts.static, self.plan))

    def _scored(
        self,
        entry: Entry,
        chosen: tuple[AnyRecipe, list[Trial], int | None],
        runs: list[Trained],
        rows: dict[str, Result],
        job: Job | None,
    ) -> Scored:
        """Return what is known of a system, but for how long its swaps take."""
        left = [run for run in runs if not isinstance(run, str)]
        about = next(iter(rows.values())).provenance["models"] if rows else []
        models = []
        for run, held in zip(left, about, strict=True):
            kept = {name: held[name] for name in ("training_seed", "step", "weights", "recipe")}
            models.append({"model": held["model"], **kept, **run.spent})
        recipe = (chosen[0] if job is None else job.model.recipe).replace(optim={"seed": 0})
        return Scored(
            name=entry.name,
            system=entry.recipe.system,
            recipe=recipe.to_dict(),
            digest=recipe.digest,
            parameters=parameters(recipe),
            models=models,
            policy="" if job is None else job.start,
            swap_seconds={},
            rows={protocol: result.rows for protocol, result in rows.items()},
            trials=[trial.to_dict() for trial in chosen[1]],
            chosen=chosen[2],
            execution={} if job is None else job.model.report(),
            failed=[run for run in runs if isinstance(run, str)],
            notes=[] if entry.loaded or job is None else early_ends(recipe, len(self.clips[entry.name])),
        )

    def _read(self, name: str) -> dict[str, Any]:
        try:
            held = json.loads((self.out / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return held if isinstance(held, dict) else {}

    def _write(self, name: str, plain: dict[str, Any]) -> None:
        text = json.dumps(plain, indent=1) + "\n"
        atomic_write(self.out / name, lambda file: file.write(text.encode()))


def early_ends(recipe: AnyRecipe, clips: int) -> list[str]:
    """Say which part of a recipe's training its steps do not reach; clips: how many are trained on."""
    needed, steps = warm_up_steps(recipe, clips), recipe.optim.steps
    if steps is None or steps > needed or not needed:
        return []
    return [f"its {steps} steps end within its warm-up of {needed}, so that it never sees its whole loss"]


def _device(asked: str) -> str:
    """Return the name of what is trained on."""
    import platform

    import torch

    from diffsda.train.parallel import place_of

    place = place_of(asked)
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return platform.processor() or platform.machine()
