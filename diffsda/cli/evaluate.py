"""diffsda evaluate: score models by a protocol of the papers, over seeds, beside what the papers report."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffsda.cli.options import WithModel, parse
from diffsda.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from diffsda.data.clip import Clips
    from diffsda.evaluate.job import Job
    from diffsda.evaluate.judges.shelf import Shelf
    from diffsda.evaluate.protocols import Protocol
    from diffsda.evaluate.record import Result
    from diffsda.evaluate.result import Row
    from diffsda.evaluate.run import Journal
    from diffsda.tasks.batches import Track


@dataclass(frozen=True, kw_only=True)
class Options(WithModel):
    """Score models by a protocol: `diffsda evaluate list` names them."""

    protocol: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROTOCOL")]
    """Name of a protocol, or `list`."""
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = ()
    """Model files or run folders: one, or several trained alike with different seeds."""
    data: str = ""
    """Clips to score on: a prepared folder, the name of a data set, or a file."""
    fit: str | None = None
    """Clips that judges, probes and baselines are fitted on; left open, the training part of --data."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of pairs, judges and start noise; several give an interval."""
    count: int | None = None
    """Score so many clips of the part, drawn once for all seeds (whole recordings, where clips are parts of some); left
    open, all. A list of pairs of a prepared folder is of all its clips: --draw-pairs goes with this."""
    pairs: Path | None = None
    """A list of pairs (.csv) instead of pairs drawn from the seed."""
    draw_pairs: int | None = None
    """Pairs to draw, instead of a prepared folder's own list too; left open, the protocol's own number."""
    save_pairs: Path | None = None
    """Write the first seed's pairs as such a list (.csv), for other models to be scored on."""
    noise: Literal["dynamic", "static", "fresh", "shared"] = "dynamic"
    """Where swaps start from: the stochastic code of either donor, or fresh noise, alike in all frames if shared."""
    steps: int | None = None
    """Solver steps T, 2T - 1 network evaluations."""
    static: tuple[str, ...] | None = None
    """Labels of what a clip keeps; left open, what is known of the set."""
    dynamic: tuple[str, ...] | None = None
    """Labels of what happens in it; left open, what is known of the set."""
    prior: Path | None = None
    """The model's prior; left open, prior.safetensors in the run folder if it is there."""
    judge: tuple[str, ...] = ()
    """Judges by kind, KIND=NAME each; left open, the paper's where it is there, else a substitute."""
    judge_file: tuple[str, ...] = ()
    """Weight files of judges that come without, JUDGE=PATH each: openpose, market1501, i3d."""
    set: tuple[str, ...] = ()
    """Settings of the protocol's own, NAME=VALUE each."""
    as_published: bool = False
    """Count as the authors' code does, its slips included."""
    cache: Path | None = None
    """Folder for what judges said; left open, judged/ beside the result."""
    out: Path | None = None
    """The result (.json); left open, eval/PROTOCOL-DATA.json in the first model's run folder."""
    json: bool = False
    """Print the result as JSON instead of its path."""


def run(argv: list[str]) -> int:
    """Score, write the result, print its path; the table goes to stderr."""
    from diffsda.evaluate.protocols import PROTOCOLS, protocol
    from diffsda.evaluate.published import published

    options = parse(Options, argv, "evaluate", "Score models by a protocol of the papers.")
    if options.protocol == "list":
        width = max(map(len, PROTOCOLS))
        for one in PROTOCOLS.values():
            print(f"{one.name:<{width}}  {one.tables}: {one.about}\n{'':<{width}}  needs {one.needs}")
            print(f"{'':<{width}}  --set {', '.join(one.settings)}")
        return 0
    wanted = protocol(options.protocol)
    _check(options)
    out = options.out or _place(options)
    from diffsda.cli.clips import fresh
    from diffsda.evaluate.run import Journal as Kept

    if options.out is None:
        out.parent.mkdir(parents=True, exist_ok=True)
    fresh(out, overwrite=options.overwrite)
    evaluation = _Evaluation(options, wanted, out)
    journal = Kept(out.with_name(f".{out.stem}.seeds.jsonl"), evaluation.key)
    if options.save_pairs is not None:
        evaluation.save_pairs(options.save_pairs)
    result = evaluation.result(journal)
    result.write(out)
    journal.drop()
    print(out.read_text() if options.json else out)
    print(result.table(), file=sys.stderr, end="")
    if not result.published and (sets := sorted({row.data for row in published(wanted.name)})):
        print(f"The papers report this on {', '.join(sets)}, not on {result.data}.", file=sys.stderr)
    return 0


class _Evaluation:
    """One protocol over models and seeds."""

    def __init__(self, options: Options, wanted: Protocol, out: Path) -> None:
        from diffsda.cli.clips import open_session
        from diffsda.cli.units import Units
        from diffsda.evaluate.judges.shelf import Shelf
        from diffsda.evaluate.pairs import read as read_pairs
        from diffsda.evaluate.roles import roles
        from diffsda.evaluate.run import key_of
        from diffsda.train.parallel import join

        self.options, self.wanted = options, wanted
        self.cache = options.cache or out.parent / "judged"
        self.shelf: Shelf = Shelf(
            cache=self.cache,
            prefer=_words("--judge", options.judge),
            files={name: Path(path) for name, path in _words("--judge-file", options.judge_file).items()},
            device=str(join(options.device).device),
        )
        self.sessions = [open_session(path, options) for path in options.models]
        self.units = [Units.of(session, options) for session in self.sessions]
        self.folder = Path(options.data) if Path(options.data).is_dir() else None
        self.fit, self.test = self._open()
        self.parts: dict[int, tuple[Clips, Clips]] = {}
        self.name = _set_name(self.folder, self.test)
        self.static, self.dynamic = roles(self.name, tuple(self.test.labels), options.static, options.dynamic)
        self.settings = wanted.checked(_named("--set", options.set))
        if options.draw_pairs is not None:
            self.settings |= wanted.checked({"pairs": options.draw_pairs})
        self.pairs = (
            None
            if options.pairs is None
            else read_pairs(options.pairs, self.test, folder=self.folder, split=options.split)
        )
        self.about = {
            "models": [_about(path, session) for path, session in zip(options.models, self.sessions, strict=True)],
            "data": {
                "name": self.name,
                "split": options.split,
                "fit": [len(self.fit), self.fit.fingerprint()],
                "test": [len(self.test), self.test.fingerprint()],
            },
            "pairs": None if options.pairs is None else _digest(options.pairs),
            "options": {
                name: getattr(options, name)
                for name in (
                    "noise",
                    "steps",
                    "as_published",
                    "count",
                    "precision",
                    "judge",
                    "judge_file",
                    "set",
                    "draw_pairs",
                )
            },
            "labels": {"static": list(self.static), "dynamic": list(self.dynamic)},
        }
        self.key = key_of([wanted.name, self.about])

    def result(self, journal: Journal) -> Result:
        """Score every model with every seed."""
        import diffsda
        from diffsda.cli.progress import solver_bar
        from diffsda.evaluate.published import published
        from diffsda.evaluate.record import Result
        from diffsda.evaluate.run import evaluate

        began = time.perf_counter()
        with solver_bar(self.wanted.name) as track:
            rows = evaluate(
                lambda model, seed: self._score(model, seed, track), len(self.sessions), self.options.seeds, journal
            )
        import torch

        return Result(
            protocol=self.wanted.name,
            tables=self.wanted.tables,
            about=self.wanted.about,
            data=self.name,
            rows=rows,
            seeds=self.options.seeds,
            published=[row.to_dict() for row in published(self.wanted.name, self.name)],
            judges=_judges(rows),
            provenance={
                **self.about,
                "execution": self.sessions[0].report(),
                "seconds": round(time.perf_counter() - began, 1),
                "versions": {"diffsda": diffsda.__version__, "torch": str(torch.__version__)},
            },
        )

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
        from diffsda.data.registry import open_clips

        options, form = self.options, self.units[0].form
        test = open_clips(options.data, options.split, form)
        if options.fit is not None:
            fit = open_clips(options.fit, "train", form)
        elif Path(options.data).is_file():
            print(f"note: {options.data} has no parts: one half is fitted on, the other scored", file=sys.stderr)
            fit, test = test.split(0.5, 0)
        else:
            fit = open_clips(options.data, "train", form)
        if fit.fingerprint() == test.fingerprint():
            raise InputError("--fit: got the clips that are scored, expected others: judges fitted on them would know")
        if options.count is not None and options.count < len(test):
            test = test.select(_some(test, options.count))
        return fit, test

    def _prior(self, model: int) -> Any:
        from diffsda.cli.priors import open_prior, place

        path = self.options.models[model]
        if self.options.prior is None and not place(path, None).is_file():
            return None
        return open_prior(path, self.options.prior, self.sessions[model]._like().device)


def _check(options: Options) -> None:
    """Refuse what cannot be, before anything is opened."""
    if not options.models:
        raise InputError("MODEL: got none, expected a model file or a run folder")
    if not options.data:
        raise InputError("--data: got nothing, expected a prepared folder, the name of a data set, or a file")
    if options.out is not None and options.out.suffix != ".json":
        raise InputError(f"--out: got {options.out}, expected a file ending in .json")
    for name in ("count", "draw_pairs"):
        value = getattr(options, name)
        if value is not None and value < 2:
            raise InputError(f"--{name.replace('_', '-')}: got {value}, expected at least 2")
    if options.prior is not None and len(options.models) > 1:
        raise InputError("--prior: got one for several models, expected each to have its own in its run folder")
    if options.save_pairs is not None:
        from diffsda.cli.clips import fresh

        if options.save_pairs.suffix != ".csv":
            raise InputError(f"--save-pairs: got {options.save_pairs}, expected a file ending in .csv")
        fresh(options.save_pairs, overwrite=options.overwrite, option="--save-pairs")
    if options.pairs is not None and options.draw_pairs is not None:
        raise InputError("--draw-pairs: got a list of pairs as well, expected one of them")


def _place(options: Options) -> Path:
    first = Path(options.models[0])
    data = Path(options.data).stem or "clips"
    return (first if first.is_dir() else first.parent) / "eval" / f"{options.protocol}-{data}.json"


def _some(clips: Clips, count: int) -> np.ndarray:
    """Return so many rows, drawn once and for all; of recordings that were cut into clips, whole ones."""
    import numpy as np

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


def _about(path: str, session: Any) -> dict[str, Any]:
    from diffsda.cli.priors import owner

    held = owner(path)
    return {
        "model": path,
        "recipe": session.recipe.digest,
        "name": session.recipe.name,
        "encoder": held.encoder,
        "step": held.step,
        "training_seed": session.recipe.optim.seed,
    }


def _digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _judges(rows: list[Row]) -> list[dict[str, Any]]:
    named = {(row.judge, row.substitute) for row in rows if row.judge}
    return [{"name": name, "substitute": substitute} for name, substitute in sorted(named)]
