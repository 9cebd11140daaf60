"""A run folder as a report reads it: recipe, log, weights, prior, results; what is missing or broken is said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffsda.errors import CheckpointError, InputError
from diffsda.evaluate.record import Result
from diffsda.header import newest, read_header
from diffsda.prior.file import NAME as PRIOR
from diffsda.recipe import AnyRecipe
from diffsda.systems import recipe_from_dict
from diffsda.train.log import FILE as LOG
from diffsda.train.log import read_log
from diffsda.train.prior import workplace

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What lies in the folder of a training run."""

    folder: Path
    recipe: AnyRecipe
    weights: Path
    """The newest saved weights."""
    digest: str
    """SHA-256 of their file."""
    provenance: dict[str, Any]
    """What the run ran on, and what the weights say of themselves."""
    log: list[Record]
    """Records of the training, in the order of their steps."""
    prior: Path | None = None
    prior_log: list[Record] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @property
    def step(self) -> int | None:
        """The step of the weights, where they tell."""
        step = self.provenance.get("step")
        return step if isinstance(step, int) else None

    @property
    def latest(self) -> int | None:
        """The last step in the log."""
        return self.log[-1]["step"] if self.log else None


def read_run(folder: str | Path, evaluation: Sequence[str | Path] | None = None) -> Run:
    """Read a run folder. ``evaluation`` names result files; left out, those in ``eval/`` are taken.

    Raises: InputError if it is no run folder, nothing was saved in it yet, its parts are of two runs, or a result
    cannot be read; CheckpointError if the weights are damaged.
    """
    folder = Path(folder)
    recipe = _recipe(folder)
    log = sorted(
        (r for r in read_log(folder / LOG) if isinstance(r["step"], int)), key=lambda record: int(record["step"])
    )
    try:
        weights = newest(folder)
    except CheckpointError:
        how_far = f"its log ends at step {log[-1]['step']}" if log else "its log is empty"
        raise InputError(
            f"{folder}: holds no weights-*.safetensors yet ({how_far}), expected a run that has saved once; wait, or "
            "train with a smaller --save-every"
        ) from None
    about = read_header(weights).ours() or {}
    if about.get("digest") != recipe.digest:
        raise InputError(
            f"{folder}: {weights.name} is of recipe {about.get('digest')}, recipe.json of {recipe.digest}; expected "
            "files of one run"
        )
    held = about.get("provenance")
    prior = folder / PRIOR
    files = sorted((folder / "eval").glob("*.json")) if evaluation is None else [Path(path) for path in evaluation]
    return Run(
        folder=folder,
        recipe=recipe,
        weights=weights,
        digest=hashlib.sha256(weights.read_bytes()).hexdigest(),
        provenance={**_provenance(folder), **(held if isinstance(held, dict) else {})},
        log=log,
        prior=prior if prior.is_file() else None,
        prior_log=read_log(workplace(prior) / LOG) if prior.is_file() else [],
        results=[Result.read(path) for path in files],
    )


def _recipe(folder: Path) -> AnyRecipe:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise InputError(f"{folder}: got {found}, expected the folder of a run of `diffsda train`")
    path = folder / "recipe.json"
    plain = _json(path)
    if plain is None:
        raise InputError(f"{folder}: holds no recipe.json, expected the folder of a run of `diffsda train`")
    if not isinstance(plain, dict):
        raise InputError(f"{path}: got {type(plain).__name__}, expected what `diffsda train` writes")
    try:
        return recipe_from_dict({name: value for name, value in plain.items() if name != "digest"})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _provenance(folder: Path) -> dict[str, Any]:
    plain = _json(folder / "provenance.json")
    return plain if isinstance(plain, dict) else {}


def _json(path: Path) -> Any:
    """Return what a JSON file holds, None where there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}), expected what `diffsda train` writes") from None
