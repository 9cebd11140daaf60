"""Tuning: for every system the same number of variations, scored on the validation part alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.compare.entries import Entry
from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import clip_label, usable
from diffsda.recipe import AnyRecipe
from diffsda.recipe.plain import plain as plain_data

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.evaluate.record import Result

RATES = (1.0, 0.5, 2.0, 0.25, 4.0)
"""Where no grid is given: what the recipe's learning rate is multiplied by."""
HELD_OUT = 1 / 3
"""Share of the training part that is validated on, of sets without a validation part."""
RECORDINGS = ("utterance", "recording", "item")
"""Labels whose clips belong together."""


@dataclass(frozen=True)
class Criterion:
    """What trials are chosen by: one number, higher is better."""

    name: str
    protocol: str
    metric: str
    sign: int
    words: str

    def score(self, result: Result) -> tuple[float, str]:
        """Return a trial's score, NaN with a reason where it is undefined."""
        for row in result.rows:
            if row.metric == self.metric and not row.baseline:
                return self.sign * row.mean, row.reason
        return math.nan, f"{self.protocol} gave no {self.metric}"


CRITERIA = {
    one.name: one
    for one in (
        Criterion("joint", "swap-labels", "joint_accuracy", 1, "joint swap accuracy"),
        Criterion("eer-gap", "eer", "eer_gap", 1, "dynamic EER less static EER"),
        Criterion("static", "swap-labels", "static_accuracy", 1, "static swap accuracy"),
        Criterion("reconstruction", "reconstruction", "mse_fresh_noise", -1, "error of clips made of their factors"),
    )
}
"""What trials can be chosen by."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One variation of a recipe and how it scored; ``overrides`` is what it changes, part by part."""

    overrides: Mapping[str, Mapping[str, Any]]
    score: float = math.nan
    reason: str = ""
    """Why there is no score."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Digest of its recipe, steps, seconds."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON."""
        score = None if math.isnan(self.score) else self.score
        return {"overrides": plain_data(self.overrides), "score": score, "reason": self.reason, **self.details}


def grids(given: Sequence[Entry], trials: int, path: Path | None) -> dict[str, list[dict[str, Any]]]:
    """Return the variations of every system that is to be trained, by its name: the first ``trials`` of its list.

    path: a JSON file, a list of overrides by the name of a recipe or, failing that, a system. Without one the learning
    rate is varied as ``RATES`` say.
    Raises: InputError if a system has fewer variations than the others, or one cannot be.
    """
    tuned = [entry for entry in given if not entry.loaded]
    if trials < 1:
        raise InputError(f"--trials: got {trials}, expected at least 1")
    if path is None:
        if trials > len(RATES):
            raise InputError(f"--trials: got {trials}, expected at most {len(RATES)} without a --grid of your own")
        return {
            entry.name: [{"optim": {"lr": entry.recipe.optim.lr * rate}} for rate in RATES[:trials]] for entry in tuned
        }
    plain = _read(path)
    out = {}
    for entry in tuned:
        held = plain.get(entry.recipe.name, plain.get(entry.recipe.system))
        if not isinstance(held, list) or len(held) < trials:
            count = len(held) if isinstance(held, list) else "none"
            raise InputError(
                f"{path}: got {count} variations of {entry.name} ({entry.recipe.system}), expected {trials} at least: "
                "all systems get the same number of trials"
            )
        known: dict[str, int] = {}
        for number, overrides in enumerate(held[:trials], 1):
            where = f"{path}: {entry.name}, variation {number}"
            digest = varied(entry.recipe, overrides, where).digest
            if digest in known:
                raise InputError(f"{where}: is variation {known[digest]} again, expected another one")
            known[digest] = number
        out[entry.name] = held[:trials]
    return out


def varied(recipe: AnyRecipe, overrides: Any, where: str = "variation") -> AnyRecipe:
    """Return a recipe with overrides: for each part a table of settings.

    Raises: InputError naming where the overrides came from, for parts, settings or values there are none of.
    """
    parts = recipe.to_dict()
    if not isinstance(overrides, dict) or not all(isinstance(value, dict) for value in overrides.values()):
        raise InputError(f"{where}: got {overrides!r}, expected tables of settings by part, such as optim")
    for part, values in overrides.items():
        if not isinstance(parts.get(part), dict):
            raise InputError(f"{where}: got the part {part!r}, expected one of {', '.join(_tables(parts))}")
        if part == "clips" or (part == "optim" and {"steps", "epochs", "seed"} & set(values)):
            raise InputError(f"{where}: got {part} {values}, expected neither clips, nor budget or seed to vary")
        for name in values:
            if name not in parts[part]:
                raise InputError(f"{where}: got {part}.{name}, expected one of {', '.join(parts[part])}")
    from diffsda.systems import recipe_from_dict

    try:
        merged = {name: {**value, **overrides[name]} if name in overrides else value for name, value in parts.items()}
        made = recipe_from_dict(merged)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    _check_felt(made, overrides, where)
    return made


def _check_felt(made: AnyRecipe, overrides: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Refuse overrides that change nothing of the system: what follows another setting, or is not looked at."""
    parts = made.to_dict()
    for part, values in overrides.items():
        for name, value in values.items():
            read = parts[part][name]
            if read != plain_data(value):
                raise InputError(
                    f"{where}: got {part}.{name} {value!r}, which stays {read!r}: it follows another part of the "
                    "recipe; vary that"
                )
            sampled = name == "steps" and "sampling_steps" in parts.get("settings", {})
            if part == "sampling" and made.system != "diffsda" and not sampled:
                raise InputError(f"{where}: got sampling.{name}, which {made.system} does not look at; leave it out")


def criterion(name: str | None, clips: Clips, static: Sequence[str], dynamic: Sequence[str]) -> Criterion:
    """Return what trials are chosen by: as named, or joint accuracy where there are labels of both roles, else the gap
    of equal error rates where there are static ones, else reconstruction.

    Raises: InputError for an unknown one, or one that needs labels the clips lack.
    """
    whole = [usable([clips], names)[0] for names in (static, dynamic)]
    if name is None:
        return CRITERIA["joint" if all(whole) else "eer-gap" if whole[0] else "reconstruction"]
    if name not in CRITERIA:
        raise InputError(f"--criterion: got {name!r}, expected one of {', '.join(CRITERIA)}")
    if (name == "joint" and not all(whole)) or (name in ("eer-gap", "static") and not whole[0]):
        raise InputError(f"--criterion: got {name} for {clips.name}, which lacks the labels it needs; choose another")
    return CRITERIA[name]


def held_out(clips: Clips, static: Sequence[str]) -> tuple[Clips, Clips]:
    """Part a training set in what trials are trained on and what they are scored on, always alike.

    Recordings stay whole; where there are none, every value of the first static label is on both sides.
    """
    of = next(
        (clips.labels[name] for name in RECORDINGS if name in clips.labels and clips.labels[name].ndim == 1), None
    )
    kept = usable([clips], static)[0]
    if of is None:
        return clips.split(HELD_OUT, 0, kept[0] if kept and clips.labels[kept[0]].ndim == 1 else None)
    draw = np.random.default_rng(0)
    group = clip_label(clips, kept[0]) if kept else np.zeros(len(clips), np.int64)
    held = np.zeros(len(clips), bool)
    for value in np.unique(group):
        there = draw.permutation(np.unique(of[group == value]))
        held |= np.isin(of, there[: min(max(round(HELD_OUT * len(there)), 1), len(there) - 1)])
    if not held.any():
        raise InputError(f"validation: got {clips.name}, whose clips are of one recording each; expected several")
    return clips.select(~held), clips.select(held)


def best(tried: Sequence[Trial]) -> int:
    """Return the place of the trial with the highest score, the first of several.

    Raises: InputError if none has a score, with the first reason.
    """
    scored = [i for i, trial in enumerate(tried) if not math.isnan(trial.score)]
    if not scored:
        raise InputError(f"trials: none has a score: {tried[0].reason}; choose another --criterion or --grid")
    return max(scored, key=lambda i: tried[i].score)


def _tables(parts: Mapping[str, Any]) -> list[str]:
    return [name for name, value in parts.items() if isinstance(value, dict)]


def _read(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--grid: {path} cannot be read ({error}), expected lists of overrides by recipe") from None
    if not isinstance(plain, dict):
        raise InputError(f"--grid: {path} holds {type(plain).__name__}, expected lists of overrides by recipe")
    return plain
