"""One protocol over models and seeds: what it needs is opened once, and all that decides its values is written down."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.cli.evaluate import Options
    from diffsda.data.clip import Clips
    from diffsda.disentangler import Disentangler
    from diffsda.evaluate.job import Job
    from diffsda.evaluate.judges.shelf import Shelf
    from diffsda.evaluate.protocols import Protocol
    from diffsda.evaluate.record import Result
    from diffsda.evaluate.result import Row
    from diffsda.evaluate.run import Journal
    from diffsda.tasks.batches import Track


class Evaluation:
    """One protocol over models and seeds.

    ``parts`` are clips to fit on and to score instead of those the options name, as people have them.
    """

    def __init__(self, options: Options, wanted: Protocol, out: Path, parts: tuple[Clips, Clips] | None = None) -> None:
        import diffsda
        from diffsda.cli.clips import open_session
        from diffsda.cli.evaluation_checks import all_different, kept_pairs, own_settings
        from diffsda.cli.units import Units
        from diffsda.evaluate.judges.shelf import Shelf
        from diffsda.evaluate.pairs import fingerprint
        from diffsda.evaluate.roles import roles
        from diffsda.evaluate.run import key_of
        from diffsda.header import newest
        from diffsda.train.parallel import join

        self.options, self.wanted = options, wanted
        self.settings = own_settings(wanted, _named("--set", options.set), options.draw_pairs)
        self.cache = options.cache or out.parent / "judged"
        files = {name: Path(path) for name, path in _words("--judge-file", options.judge_file).items()}
        self.shelf: Shelf = Shelf(
            cache=self.cache,
            prefer=_words("--judge", options.judge),
            files=files,
            device=str(join(options.device).device),
        )
        self.sessions = [open_session(path, options) for path in options.models]
        _one_system(options.models, self.sessions)
        known = [
            _about(path, session, options.prior) for path, session in zip(options.models, self.sessions, strict=True)
        ]
        all_different(known)
        self.units = [Units.of(session, options) for session in self.sessions]
        self.folder = Path(options.data) if Path(options.data).is_dir() else None
        self.fit, self.test = self._open() if parts is None else parts
        self.parts: dict[int, tuple[Clips, Clips]] = {}
        self.name = _set_name(self.folder, self.test)
        self.static, self.dynamic = roles(self.name, tuple(self.test.labels), options.static, options.dynamic)
        self.pairs = kept_pairs(options, self.test, self.folder)
        self.about = {
            "models": known,
            "data": {
                "name": self.name,
                "split": options.split,
                "fit": [len(self.fit), self.fit.fingerprint(), fingerprint(self.fit)],
                "test": [len(self.test), self.test.fingerprint(), fingerprint(self.test)],
                "lists": _lists(self.folder),
            },
            "pairs": None if options.pairs is None else _digest(options.pairs),
            "first_stage": None if options.first_stage is None else _digest(newest(options.first_stage)),
            "judge_files": {name: _digest(path) for name, path in files.items() if path.is_file()},
            "options": {
                name: getattr(options, name)
                for name in (
                    "steps",
                    "as_published",
                    "as_is",
                    "count",
                    "precision",
                    "route",
                    "runtime",
                    "judge",
                    "judge_file",
                    "set",
                    "draw_pairs",
                )
            }
            | {"noise": options.noise or self.sessions[0].policy},
            "labels": {"static": list(self.static), "dynamic": list(self.dynamic)},
            "diffsda": diffsda.__version__,
        }
        self.key = key_of([wanted.name, self.about])

    def result(self, journal: Journal) -> Result:
        """Score every model with every seed."""
        import diffsda
        from diffsda.cli.forecast import forecasting
        from diffsda.cli.progress import solver_bar
        from diffsda.evaluate.published import published
        from diffsda.evaluate.record import Result
        from diffsda.evaluate.run import evaluate

        began, seeds, models = time.perf_counter(), self._seeds(), len(self.sessions)
        times = " and ".join(
            f"each of {count} {word}" for count, word in ((len(seeds), "seeds"), (models, "models")) if count > 1
        )
        with solver_bar(self.wanted.name) as bar:
            track = forecasting(bar, self.wanted.name, self.options.batch, times)
            rows = evaluate(lambda model, seed: self._score(model, seed, track), models, seeds, journal)
        import torch

        return Result(
            protocol=self.wanted.name,
            tables=self.wanted.tables,
            about=self.wanted.about,
            data=self.name,
            rows=rows,
            seeds=seeds,
            published=[row.to_dict() for row in published(self.wanted.name, self.name)],
            judges=_judges(rows),
            provenance={
                **self.about,
                "key": self.key,
                "execution": self.sessions[0].report(),
                "seconds": round(time.perf_counter() - began, 1),
                "versions": {"diffsda": diffsda.__version__, "torch": str(torch.__version__)},
            },
        )

    def _seeds(self) -> tuple[int, ...]:
        """Return the seeds that are scored: of a protocol that draws nothing the first, which stands for all."""
        from diffsda.tasks.batches import silent

        seeds = self.options.seeds
        if len(seeds) < 2 or self.wanted.draws(self.job(0, seeds[0], silent)):
            return seeds
        print(
            f"note: {self.wanted.name} draws nothing here, so that no seed changes it: seed {seeds[0]} stands for all",
            file=sys.stderr,
        )
        return seeds[:1]

    def _score(self, model: int, seed: int, track: Track) -> list[Row]:
        job = self.job(model, seed, track)
        of = f" of model {model + 1}/{len(self.sessions)}" if len(self.sessions) > 1 else ""
        if len(self.options.seeds) > 1 or of:
            print(f"{self.wanted.name}: seed {seed}{of}", file=sys.stderr)
        return self.wanted.run(job)

    def job(self, model: int, seed: int, track: Track) -> Job:
        """Return one seed's work for a model."""
        from diffsda.evaluate.job import Job

        options, units = self.options, self.units[model]
        if model not in self.parts:
            # One model's clips at a time: latents of several would fill the memory.
            self.parts = {model: (units.take(self.fit), units.take(self.test))}
        fit, test = self.parts[model]
        return Job(
            model=self.sessions[model],
            fit=fit,
            test=test,
            back=units.back,
            shelf=self.shelf,
            static=self.static,
            dynamic=self.dynamic,
            seed=seed,
            steps=options.steps,
            batch=options.batch,
            noise=options.noise,
            pairs=self.pairs,
            originals=None if units.space is None else self.test.x,
            prior=self._prior(model),
            split=options.split,
            folder=self.folder,
            as_published=options.as_published,
            track=track,
            options=dict(self.settings),
        )

    def save_pairs(self, path: Path) -> None:
        """Write the first seed's pairs."""
        from diffsda.evaluate.pairs import PairList, of_job, write
        from diffsda.tasks.batches import silent

        seed = self.options.seeds[0]
        rows = of_job(self.job(0, seed, silent), own_list=self.wanted.name != "swap-labels")
        write(path, PairList.of(rows, self.test, split=self.options.split, seed=seed, folder=self.folder))

    def _open(self) -> tuple[Clips, Clips]:
        """Return the clips that are fitted on and those that are scored, as people have them."""
        from diffsda.cli.evaluation_checks import kept_apart
        from diffsda.data.registry import open_clips
        from diffsda.train.data import fits

        options, form = self.options, self.units[0].form
        test = open_clips(options.data, options.split, form)
        if options.fit is not None:
            fit = open_clips(options.fit, "train", form)
        elif Path(options.data).is_file():
            print(f"note: {options.data} has no parts: one half is fitted on, the other scored", file=sys.stderr)
            fit, test = _halves(test)
        else:
            fit = open_clips(options.data, "train", form)
        for part in (test, fit):
            fits(part, self.units[0].recipe.replace(clips=form))
        kept_apart(fit, test, options)
        if options.fit is not None and (shared := _shared(fit, test)):
            print(
                f"warning: {shared} of the {len(test)} clips that are scored are among those of --fit", file=sys.stderr
            )
        if options.count is not None and options.count < len(test):
            test = test.select(_some(test, options.count))
        return fit, test

    def _prior(self, model: int) -> Any:
        from diffsda.cli.priors import open_prior, place

        path = self.options.models[model]
        if self.options.prior is None and not place(path, None).is_file():
            return None
        return open_prior(path, self.options.prior, self.sessions[model]._like().device)


def _one_system(paths: tuple[str, ...], sessions: list[Disentangler]) -> None:
    """Refuse models of several systems, whose rows are not of the same swaps."""
    systems = [session.recipe.system for session in sessions]
    for path, system in zip(paths, systems, strict=True):
        if system != systems[0]:
            raise InputError(
                f"MODEL: got {path}, a model of {system}, beside {paths[0]} of {systems[0]}, expected models trained "
                "alike; `diffsda compare` sets systems beside each other"
            )


def _halves(clips: Clips) -> tuple[Clips, Clips]:
    """Cut clips in two, parts of one recording on one side."""
    group = next((clips.labels[name] for name in ("utterance", "recording", "item") if name in clips.labels), None)
    if group is None or group.ndim != 1:
        return clips.split(0.5, 0)
    values = np.random.default_rng(0).permutation(np.unique(group))
    left = np.isin(group, values[: max(1, len(values) // 2)])
    return clips.select(left), clips.select(~left)


def _shared(fit: Clips, test: Clips) -> int:
    """Return how many of the clips that are scored are fitted on as well, value by value."""
    if fit.x.shape[1:] != test.x.shape[1:]:
        return 0
    known = {row.tobytes() for row in fit.x}
    return sum(row.tobytes() in known for row in test.x)


def _some(clips: Clips, count: int) -> np.ndarray:
    """Return so many rows, drawn once and for all; of recordings that were cut into clips, whole ones."""
    order = np.random.default_rng(0).permutation(len(clips))
    if "utterance" not in clips.labels:
        return np.sort(order[:count])
    of = clips.labels["utterance"]
    _, first = np.unique(of[order], return_index=True)
    drawn = of[order][np.sort(first)]  # recordings in the order in which they were drawn
    held = np.cumsum([int((of == one).sum()) for one in drawn])
    return np.flatnonzero(np.isin(of, drawn[: max(1, int((held <= count).sum()))]))


def _words(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=WORD settings."""
    return {name: str(value) for name, value in _named(option, given).items()}


def _named(option: str, words: tuple[str, ...]) -> dict[str, Any]:
    """Read NAME=VALUE settings; values are JSON where they can be read so, else words."""
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not name or not sign or name in found:
            raise InputError(f"{option}: got {word!r}, expected NAME=VALUE, each name once")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _set_name(folder: Path | None, clips: Clips) -> str:
    from diffsda.data.prepared import Dataset, is_prepared

    return Dataset.read(folder).name if folder is not None and is_prepared(folder) else clips.name


def _about(path: str, session: Any, prior: Path | None) -> dict[str, Any]:
    """Return what a model is known by: its weights, and those of its prior where it has one."""
    from diffsda.cli.priors import owner, place
    from diffsda.export import manifest
    from diffsda.header import newest

    held, of_prior = owner(path), place(path, prior)
    exported = Path(path) / manifest.NAME
    return {
        "model": path,
        "recipe": held.recipe,
        "name": held.name,
        "step": held.step,
        "training_seed": session.recipe.optim.seed,
        "weights": _digest(exported if exported.is_file() else newest(path)),
        "prior": _digest(of_prior) if of_prior.is_file() else None,
    }


def _lists(folder: Path | None) -> dict[str, str]:
    """Return digests of what a prepared folder says beside its clips: lists of pairs and trials, the set itself."""
    names = ("dataset.json", "trials.json", "test_pairs.jsonl")
    return {name: _digest(folder / name) for name in names if folder is not None and (folder / name).is_file()}


def _digest(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _judges(rows: list[Row]) -> list[dict[str, Any]]:
    named = {(row.judge, row.substitute) for row in rows if row.judge}
    return [{"name": name, "substitute": substitute} for name, substitute in sorted(named)]
