"""What a comparison was begun with, so that it goes on with the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsda.atomic import atomic_write
from diffsda.compare.budget import Budget
from diffsda.compare.entries import Entry
from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import usable

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

NAME = "plan.json"


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
    pairs_drawn: int = 4
    """Rows of the figure."""

    def __post_init__(self) -> None:
        for option, given in (("--seeds", self.seeds), ("--judged-seeds", self.judged_seeds)):
            if not given or min(given) < 0 or len(set(given)) < len(given):
                raise InputError(f"{option}: got {given}, expected different whole numbers >= 0")
        if self.trials is None and (self.grid is not None or self.criterion is not None):
            raise InputError("--trials: got none beside --grid or --criterion, expected how many trials a system")

    def to_dict(self, clips: Clips | Any) -> dict[str, Any]:
        """Return all that decides the models and their scores, fit for JSON; clips: the training part."""
        grid = None if self.grid is None else json.loads(self.grid.read_text(encoding="utf-8"))
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
        }

    def keep(self, plain: dict[str, Any]) -> None:
        """Write down what this comparison is begun with, or see that it is gone on with the same.

        Raises: InputError for a folder of something else, or a comparison begun with other settings, with the first.
        """
        path = self.out / NAME
        if not path.is_file():
            if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
                raise InputError(
                    f"--out: {self.out} exists already, expected a new folder, or a comparison to go on with"
                )
            try:
                self.out.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"--out: {self.out} cannot be made ({error.strerror}), expected a folder") from None
            text = json.dumps(plain, indent=1) + "\n"
            atomic_write(path, lambda file: file.write(text.encode()))
            return
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error}); use another --out") from None
        now = json.loads(json.dumps(plain))
        for name, value in now.items():
            if not isinstance(held, dict) or held.get(name) != value:
                was = held.get(name) if isinstance(held, dict) else held
                raise InputError(
                    f"--out: {self.out} was begun with {name} {was!r}, now {value!r}; say the same, or use a new folder"
                )


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
