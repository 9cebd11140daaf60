"""A comparison on disk: what was set beside what, how, and all that was measured."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.compare.columns import COLUMNS, row_of
from diffsda.errors import InputError
from diffsda.evaluate.result import Row

FORMAT = 1
NAME = "compare.json"
WANTED = f"expected the {NAME} that `diffsda compare` writes"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A system in the comparison and what was measured of it."""

    name: str
    system: str
    recipe: dict[str, Any]
    digest: str
    parameters: int
    models: list[dict[str, Any]]
    """By model: folder, training seed, steps, weights' digest; seconds of its training and the steps it was to have,
    null where it was loaded. None where every training failed; then there are neither rows nor seconds."""
    policy: str
    """Where its swaps start from; nothing follows from it in a system that draws nothing."""
    swap_seconds: dict[str, float]
    """Seconds a clip for one swap, by start noise; the first is the policy's."""
    rows: dict[str, list[Row]]
    """By protocol, values model by model."""
    trials: list[dict[str, Any]] = field(default_factory=list)
    """Variations that were tried, and their scores on the validation part."""
    chosen: int | None = None
    """Which of them it is."""
    prepared_seconds: dict[str, float] = field(default_factory=dict)
    """As ``swap_seconds``, of networks that were prepared for inference; empty where there are none."""
    execution: dict[str, Any] = field(default_factory=dict)
    """How the model ran when it was scored."""
    failed: list[str] = field(default_factory=list)
    """Why trainings of it ended without a model, one a training."""
    notes: list[str] = field(default_factory=list)
    """What to know of its training."""

    @property
    def training_seconds(self) -> float | None:
        """Mean over its models, or None where one was loaded."""
        spent = [model.get("seconds") for model in self.models]
        if not spent or any(one is None for one in spent):
            return None
        return sum(float(one) for one in spent if one is not None) / len(spent)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON."""
        rows = {protocol: [row.to_dict() for row in held] for protocol, held in self.rows.items()}
        return {**vars(self), "rows": rows}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Scored:
        """Read what ``to_dict`` wrote. Raises: InputError, KeyError or TypeError if it is something else."""
        rows = {protocol: [Row.from_dict(row) for row in held] for protocol, held in plain["rows"].items()}
        return cls(**{**plain, "rows": rows})


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `diffsda compare` leaves."""

    data: str
    """The set's name."""
    systems: list[Scored]
    seeds: tuple[int, ...]
    """Training seeds."""
    judged_seeds: tuple[int, ...]
    """Seeds of pairs and start noise."""
    judge_seed: int
    budget: dict[str, Any]
    """steps, seconds and words; rates: steps a second that were measured, by system."""
    tuning: dict[str, Any] | None
    """trials, criterion, validation (how many clips, and of which part), grid; None without trials."""
    pairs: dict[str, Any]
    """By seed: how many pairs that swap-labels swaps, and of which clips, as a digest."""
    clips: dict[str, Any]
    """How many clips are trained on and scored, and their fingerprints."""
    timing: dict[str, Any]
    """batch and repeats of the measured swaps; plain: whether all were timed as plain modules."""
    machine: dict[str, Any]
    judges: dict[str, str] = field(default_factory=dict)
    """By system, the version of the reader of its swaps: the same for all, but for loaded models of other clips."""

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write it as JSON, whole or not at all."""
        plain = {"format": FORMAT, **vars(self), "systems": [one.to_dict() for one in self.systems]}
        text = json.dumps(plain, indent=1, allow_nan=False) + "\n"
        atomic_write(path, lambda file: file.write(text.encode()))
        return Path(path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Comparison:
        """Read what ``write`` wrote.

        Raises: InputError, one line, if it is missing or something else.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read ({error}), {WANTED}") from None
        if not isinstance(plain, dict) or plain.pop("format", None) != FORMAT:
            raise InputError(f"{path}: is no comparison of format {FORMAT}, {WANTED}")
        try:
            systems = [Scored.from_dict(one) for one in plain.pop("systems")]
            seeds, judged = (tuple(int(seed) for seed in plain.pop(name)) for name in ("seeds", "judged_seeds"))
            made = cls(systems=systems, seeds=seeds, judged_seeds=judged, **plain)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: is not usable ({error!r}), {WANTED}") from None
        if not systems or len({one.name for one in systems}) < len(systems):
            raise InputError(f"{path}: got systems {[one.name for one in systems]}, expected some of different names")
        return made

    def first(self, metric: str) -> str | None:
        """Return the system that is alone in having the best mean of a column, "" where it is shared, None where fewer
        than two systems have one.
        """
        column = next(one for one in COLUMNS if one.metric == metric)
        found = [(row, one) for one in self.systems if (row := row_of(one.rows, column)) is not None]
        means = [(row.mean if row.better == "higher" else -row.mean, one) for row, one in found if row.mean == row.mean]
        if len(means) < 2:
            return None
        top = max(mean for mean, _ in means)
        firsts = [one for mean, one in means if mean == top]
        return firsts[0].name if len(firsts) == 1 else ""

    def system_of(self, name: str) -> str:
        """Return which system a row is of."""
        return next(one.system for one in self.systems if one.name == name)
