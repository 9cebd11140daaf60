"""What a comparison was begun with, so that it goes on with the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsda.atomic import atomic_write
from diffsda.compare.budget import Budget
from diffsda.compare.entries import Entry
from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import usable
from diffsda.recipe.plain import plain as plain_data

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

NAME = "plan.json"
LEFT = re.compile(r"\.[0-9a-f]{16}\.part")
"""What a kill leaves of a file that was being written."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compared, on what, and how."""

    entries: Sequence[Entry]
    data: str
    out: Path
    seeds: tuple[int, ...]
    """Training seeds."""
    budget: Budget
    judged_seeds: tuple[int, ...] = (0,)
    """Seeds of pairs and start noise."""
    judge_seed: int = 0
    protocols: tuple[str, ...] | None = None
    """Left open, those the clips allow."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By protocol, settings of its own."""
    trials: int | None = None
    grid: Path | None = None
    criterion: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    """How to train: device, loader."""
    scoring: Mapping[str, Any] = field(default_factory=dict)
    """What else decides the scores: which clips and labels, which judges."""
    pairs_drawn: int = 4
    """Rows of the figure."""

    def __post_init__(self) -> None:
        for option, given in (("--seeds", self.seeds), ("--judged-seeds", self.judged_seeds)):
            if not given or min(given) < 0 or len(set(given)) < len(given):
                raise InputError(f"{option}: got {given}, expected different whole numbers >= 0")
        if self.trials is None and (self.grid is not None or self.criterion is not None):
            raise InputError("--trials: got none beside --grid or --criterion, expected how many trials a system")

    def to_dict(self, clips: Clips | Any) -> dict[str, Any]:
        """Return all that decides the models and their scores, fit for JSON; clips: the training part.

        The clips that are scored are not known yet: nobody looks at them before models are chosen and trained.
        """
        grid = None if self.grid is None else plain_data(json.loads(self.grid.read_text(encoding="utf-8")))
        return {
            "systems": [[one.name, one.recipe.digest, list(one.loaded)] for one in self.entries],
            "data": self.data,
            "training clips": clips.fingerprint(),
            "seeds": list(self.seeds),
            "steps": self.budget.steps,
            "seconds": self.budget.seconds,
            "judged seeds": list(self.judged_seeds),
            "judge seed": self.judge_seed,
            "protocols": None if self.protocols is None else list(self.protocols),
            "settings": {name: dict(held) for name, held in self.settings.items()},
            "trials": self.trials,
            "grid": grid,
            "criterion": self.criterion,
            **self.scoring,
        }

    def keep(self, plain: dict[str, Any]) -> None:
        """Write down what this comparison is begun with, or see that it is gone on with the same.

        What an older plan does not say is not compared.
        Raises: InputError for a folder of something else, or a comparison begun with other settings, with the first.
        """
        path = self.out / NAME
        if not path.is_file():
            if self.out.exists() and (not self.out.is_dir() or any(map(_kept, self.out.iterdir()))):
                raise InputError(
                    f"--out: {self.out} exists already, expected a new folder, or a comparison to go on with"
                )
            try:
                self.out.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"--out: {self.out} cannot be made ({error.strerror}), expected a folder") from None
            self._write(plain)
            return
        self._compare(self._held(), plain)

    def add(self, name: str, value: Any) -> None:
        """Write down one thing more that was not known at first, or see that it is as it was.

        Raises: InputError if it is another one.
        """
        held = self._held()
        self._compare(held, {name: value})
        if name not in held:
            self._write({**held, name: value})

    def _held(self) -> dict[str, Any]:
        path = self.out / NAME
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error}); use another --out") from None
        if not isinstance(held, dict) or "systems" not in held:
            raise InputError(f"{path}: is no plan of a comparison; use another --out")
        return held

    def _compare(self, held: Mapping[str, Any], plain: Mapping[str, Any]) -> None:
        for name, value in json.loads(json.dumps(plain)).items():
            if name in held and held[name] != value:
                raise InputError(
                    f"--out: {self.out} was begun with {name} {held[name]!r}, now {value!r}; say the same, or use a "
                    "new folder"
                )

    def _write(self, plain: Mapping[str, Any]) -> None:
        text = json.dumps(plain, indent=1) + "\n"
        atomic_write(self.out / NAME, lambda file: file.write(text.encode()))


def _kept(path: Path) -> bool:
    return LEFT.fullmatch(path.name) is None


def protocols_of(clips: Clips, static: Sequence[str], dynamic: Sequence[str], faces: bool) -> tuple[str, ...]:
    """Return the protocols that clips with these labels allow; faces: whether people can be verified in them."""
    whole = [usable([clips], names)[0] for names in (static, dynamic)]
    found = ["swap-labels"] if any(whole) else []
    found += ["eer"] if whole[0] else []
    found += ["reconstruction"]
    return (*found, "verification") if clips.video and faces else tuple(found)


def settings_of(protocol: str, clips: Clips, static: Sequence[str], plan: Plan) -> dict[str, Any]:
    """Return a protocol's settings on clips with these labels: usual ones here, and what the plan says."""
    usual: dict[str, Any] = {}
    if protocol in ("swap-labels", "verification"):
        usual = {"judge_seed": plan.judge_seed}
    elif protocol == "eer":
        # Who is verified is who shares all static labels; a voice embedder says nothing of the models.
        usual = {"voices": False}
        if names := usable([clips], static)[0]:
            usual["speaker"] = list(names) if len(names) > 1 else names[0]
    return usual | dict(plan.settings.get(protocol, {}))
