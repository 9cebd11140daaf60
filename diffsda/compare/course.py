"""A comparison from its plan to its table: tune, train, score, time, draw; what is done already is not done again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from diffsda.atomic import atomic_write
from diffsda.compare import timing
from diffsda.compare.budget import Tell, steps_a_second, with_steps
from diffsda.compare.entries import Entry, check_clips, check_forms, parameters
from diffsda.compare.plan import Plan, protocols_of, settings_of
from diffsda.compare.record import NAME, Comparison, Scored
from diffsda.compare.runs import Run, trained
from diffsda.compare.table import document
from diffsda.compare.trials import Criterion, Trial, best, criterion, grids, held_out, varied
from diffsda.errors import InputError, TrainingError
from diffsda.recipe import AnyRecipe

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.data.stream import Stream
    from diffsda.evaluate.job import Job
    from diffsda.evaluate.record import Result


@dataclass(frozen=True, eq=False)
class Parts:
    """Clips that judges and probes are fitted on, and clips that are scored."""

    fit: Clips
    test: Clips
    split: str
    static: tuple[str, ...]
    dynamic: tuple[str, ...]


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

    def job(self, model: str, parts: Parts, seed: int) -> Job:
        """Return the work of a protocol on one model."""

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
        self.grids = None if plan.trials is None else grids(plan.entries, plan.trials, plan.grid)
        plan.keep(plan.to_dict(self.clips[plan.entries[0].name]))
        self.rates: dict[str, float] = self._read("rates.json")

    def run(self) -> Comparison:
        """Do all that is left to do and write the record, the table and the figure."""
        tuning, chosen = self._tune()
        runs = self._train({one.name: chosen[one.name][0] for one in self.plan.entries})
        parts = self.ways.parts(self.plan.entries[0].recipe, "test")
        assert parts is not None
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
        recipe = varied(entry.recipe, overrides)
        recipe = self._budgeted(recipe, parts.fit, f"trials/{entry.row}-{number}")
        name = f"{entry.row}-{number}"
        folder = self.out / "trials" / name
        details: dict[str, Any] = {"recipe": recipe.digest, "steps": recipe.optim.steps}
        failed = self.out / "trials" / f"{name}.failed"
        if failed.is_file():
            return Trial(overrides=overrides, reason=failed.read_text(encoding="utf-8"), details=details)
        try:
            run = self._run(recipe, parts.fit, folder, f"{entry.name}, trial {number + 1}")
        except TrainingError as error:
            reason = f"training failed: {error}"
            atomic_write(failed, lambda file: file.write(reason.encode()))
            return Trial(overrides=overrides, reason=reason, details=details)
        settings = settings_of(rule.protocol, parts.test, parts.static, self.plan)
        result = self.ways.evaluate(rule.protocol, [str(folder)], folder.with_suffix(".json"), parts, settings)
        score, reason = rule.score(result)
        return Trial(overrides=overrides, score=score, reason=reason, details={**details, "seconds": run.seconds})

    def _train(self, recipes: dict[str, AnyRecipe]) -> dict[str, list[Run | str]]:
        """Return the models of every system, trained with every seed, or where they were loaded from."""
        out: dict[str, list[Run | str]] = {one.name: list(one.loaded) for one in self.plan.entries}
        budgeted = {
            one.name: self._budgeted(recipes[one.name], self.clips[one.name], one.row)
            for one in self.plan.entries
            if not one.loaded
        }
        for seed in self.plan.seeds:
            for one in self.plan.entries:
                if one.loaded:
                    continue
                recipe = budgeted[one.name].replace(optim={"seed": seed})
                folder = self.out / "runs" / f"{one.row}-{seed}"
                out[one.name].append(self._run(recipe, self.clips[one.name], folder, f"{one.name}, seed {seed}"))
        return out

    def _run(self, recipe: AnyRecipe, clips: Clips | Stream, folder: Path, words: str) -> Run:
        with self.ways.watch(words) as tell:
            options = dict(self.plan.training)
            return trained(recipe, clips, folder, tell, seconds=self.plan.budget.seconds, options=options)

    def _budgeted(self, recipe: AnyRecipe, clips: Clips | Stream, name: str) -> AnyRecipe:
        """Return a recipe with its steps; how fast it is trained is measured once and kept."""
        if self.plan.budget.seconds is not None and name not in self.rates:
            self.ways.say(f"{name}: measuring how fast it is trained")
            options = {key: value for key, value in self.plan.training.items() if key in ("device", "loader")}
            self.rates[name] = steps_a_second(recipe, clips, self.out / "warm-up", options)
            self._write("rates.json", self.rates)
        return with_steps(recipe, len(clips), self.plan.budget, self.rates.get(name))

    def _score(
        self,
        parts: Parts,
        runs: dict[str, list[Run | str]],
        chosen: dict[str, tuple[AnyRecipe, list[Trial], int | None]],
        tuning: dict[str, Any] | None,
    ) -> Comparison:
        from diffsda.train.log import provenance

        plan = self.plan
        paths = {name: [_path(run) for run in held] for name, held in runs.items()}
        wanted = plan.protocols or protocols_of(
            parts.test, parts.static, parts.dynamic, self.ways.faces(parts.test.name)
        )
        rows: dict[str, dict[str, Result]] = {one.name: {} for one in plan.entries}
        for protocol in wanted:
            for one in plan.entries:
                self.ways.say(f"{one.name}: {protocol}")
                place = self.out / "eval" / one.row / f"{protocol}.json"
                place.parent.mkdir(parents=True, exist_ok=True)
                settings = settings_of(protocol, parts.test, parts.static, plan)
                rows[one.name][protocol] = self.ways.evaluate(protocol, paths[one.name], place, parts, settings)
        jobs = [self.ways.job(paths[one.name][0], parts, plan.judged_seeds[0]) for one in plan.entries]
        pairs = self._pairs(jobs, paths, parts)
        self.ways.say("timing swaps")
        seconds = timing.swap_seconds(jobs)
        systems = [
            self._scored(one, chosen[one.name], runs[one.name], rows[one.name], job, took)
            for one, job, took in zip(plan.entries, jobs, seconds, strict=True)
        ]
        self.ways.say("drawing")
        self._draw([one.name for one in plan.entries], jobs)
        machine = {name: value for name, value in provenance().items() if name not in ("command", "kernels", "device")}
        machine |= {"cores": os.cpu_count(), "trained_on": _device(str(plan.training.get("device", "auto")))}
        budget = {"steps": plan.budget.steps, "seconds": plan.budget.seconds, "words": plan.budget.words}
        return Comparison(
            data=parts.test.name,
            systems=systems,
            seeds=plan.seeds,
            judged_seeds=plan.judged_seeds,
            judge_seed=plan.judge_seed,
            budget={**budget, "rates": self.rates},
            tuning=tuning,
            pairs=pairs,
            clips={
                "train": len(self.clips[plan.entries[0].name]),
                "train_fingerprint": self.clips[plan.entries[0].name].fingerprint(),
                "test": len(parts.test),
                "test_fingerprint": parts.test.fingerprint(),
            },
            timing={"batch": timing.batch(jobs[0]), "repeats": timing.REPEATS},
            machine=machine,
        )

    def _scored(
        self,
        entry: Entry,
        chosen: tuple[AnyRecipe, list[Trial], int | None],
        runs: list[Run | str],
        rows: dict[str, Result],
        job: Job,
        seconds: dict[str, float],
    ) -> Scored:
        about = next(iter(rows.values())).provenance["models"]
        models = []
        for run, held in zip(runs, about, strict=True):
            own = {} if isinstance(run, str) else {"seconds": round(run.seconds, 2)}
            kept = {name: held[name] for name in ("training_seed", "step", "weights", "recipe")}
            models.append({"model": held["model"], **kept, "seconds": None, **own})
        return Scored(
            name=entry.name,
            system=entry.recipe.system,
            recipe=job.model.recipe.replace(optim={"seed": 0}).to_dict(),
            digest=chosen[0].digest,
            parameters=parameters(chosen[0]),
            models=models,
            policy=job.start,
            swap_seconds={policy: float(f"{took:.3g}") for policy, took in seconds.items()},
            rows={protocol: result.rows for protocol, result in rows.items()},
            trials=[trial.to_dict() for trial in chosen[1]],
            chosen=chosen[2],
        )

    def _pairs(self, jobs: list[Job], paths: dict[str, list[str]], parts: Parts) -> dict[str, Any]:
        """Return what the pairs are known by, seed by seed.

        Raises: InputError if systems had different ones.
        """
        from diffsda.evaluate.pairs import of_job

        def known(job: Job) -> dict[str, Any]:
            first, second = of_job(job, own_list=False)
            return {"count": len(first), "sha256": hashlib.sha256(first.tobytes() + second.tobytes()).hexdigest()}

        held = [known(job) for job in jobs]
        if any(one != held[0] for one in held):
            raise InputError(f"pairs: got other ones of other systems ({held}), expected the same; please report it")
        out = {str(self.plan.judged_seeds[0]): held[0]}
        model = paths[self.plan.entries[0].name][0]
        for seed in self.plan.judged_seeds[1:]:
            out[str(seed)] = known(self.ways.job(model, parts, seed))
        return out

    def _draw(self, names: list[str], jobs: list[Job]) -> None:
        """Draw the first pairs' swaps by every system."""
        from diffsda.compare.figure import compare_figure
        from diffsda.evaluate.pairs import of_job
        from diffsda.evaluate.protocols.swaps import Part, clips_at, swapped
        from diffsda.evaluate.protocols.truth import Truth
        from diffsda.report.canvas import save

        first, second = of_job(jobs[0], own_list=False)
        rows = first[: self.plan.pairs_drawn], second[: self.plan.pairs_drawn]

        def cut(part: Part) -> list[Any]:
            return [x if part.lengths is None else x[: part.lengths[i]] for i, x in enumerate(part.x)]

        donors = ("static donor", rows[0]), ("dynamics donor", rows[1])
        columns = [(words, cut(clips_at(jobs[0], donor))) for words, donor in donors]
        for name, job in zip(names, jobs, strict=True):
            made = [clip for part in swapped(job, rows, job.start) for clip in cut(part)]
            columns.append((name, made))
        try:
            truth = Truth(jobs[0], rows).part(slice(0, len(rows[0])))
            columns.append(("truth", cut(Part(truth, clips_at(jobs[0], rows[1]).lengths))))
        except InputError:
            pass  # The set does not say what swaps should look like.
        form = jobs[0].model.recipe.clips
        if form.latent or (form.modality == "video" and form.channels not in (1, 3)):
            self.ways.say("no figure: nobody can look at latents")
            return
        unit = "log mel" if form.modality == "audio" else "value"
        digests = " ".join(job.model.recipe.digest for job in jobs)
        save(
            compare_figure(columns, unit=unit),
            self.out / "compare.png",
            recipe=digests,
            seed=self.plan.judged_seeds[0],
            keys=[f"{a}x{b}" for a, b in zip(*rows, strict=True)],
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


def _path(run: Run | str) -> str:
    return run if isinstance(run, str) else str(run.folder)


def _device(asked: str) -> str:
    """Return the name of what is trained on."""
    import platform

    import torch

    from diffsda.train.parallel import place_of

    place = place_of(asked)
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return platform.processor() or platform.machine()
