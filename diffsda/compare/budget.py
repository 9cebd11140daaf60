"""An equal budget: so many steps for every system, or so many seconds of this machine."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsda.errors import InputError
from diffsda.recipe import AnyRecipe
from diffsda.train.log import read_log
from diffsda.train.order import Order

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.data.stream import Stream

Tell = Callable[[int, int, dict[str, float]], None]
MEASURED = 40
"""Steps of the run that measures how fast a system is trained."""
FIRST = 10
"""Of these, how many do not count: memory is found and kernels are chosen in them."""
LONGEST = 1_000_000
"""Epochs of a warm-up that does not end in a measured run."""


class Stopped(Exception):
    """A signal stopped a training; what it left is gone on with."""

    def __init__(self, signal: int, where: str) -> None:
        super().__init__(where)
        self.signal = signal


@dataclass(frozen=True)
class Pace:
    """How fast a recipe is trained: steps a second with the whole loss, and before, in a warm-up without some of it."""

    whole: float
    warm_up: float | None = None
    """None where the recipe has no warm-up."""

    def to_plain(self) -> float | dict[str, float]:
        """Return it fit for JSON: a number where there is one pace."""
        return self.whole if self.warm_up is None else {"whole": self.whole, "warm_up": self.warm_up}

    @classmethod
    def from_plain(cls, plain: float | Mapping[str, float]) -> Pace:
        """Read what ``to_plain`` made."""
        return cls(**plain) if isinstance(plain, Mapping) else cls(plain)

    def steps(self, seconds: float, warm_up: int) -> int:
        """Return how many steps fit into seconds, of which the first ``warm_up`` have a pace of their own."""
        if self.warm_up is None or not warm_up:
            return max(1, int(seconds * self.whole))
        before = warm_up / self.warm_up
        if seconds <= before:
            return max(1, int(seconds * self.warm_up))
        return warm_up + int((seconds - before) * self.whole)


def warm_up_steps(recipe: AnyRecipe, clips: int) -> int:
    """Return after how many steps a recipe's whole loss begins; 0 for one without a warm-up.

    clips: how many are trained on.
    """
    epochs = getattr(getattr(recipe, "settings", None), "warm_up", 0)
    return int(epochs) * Order(clips, recipe.optim.batch, 0).steps_per_epoch


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What each training may take; with neither, what its recipe says."""

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.seconds is not None:
            raise InputError("--seconds: got --steps as well, expected one of them")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"--steps: got {self.steps}, expected at least 1")
        if self.seconds is not None and not 0 < self.seconds < 1e9:
            raise InputError(f"--seconds: got {self.seconds}, expected a positive number")

    @property
    def words(self) -> str:
        """The budget in words."""
        if self.steps is not None:
            return f"{self.steps} steps each"
        return "the recipes' own steps" if self.seconds is None else f"{self.seconds:g} seconds each on this machine"


def with_steps(recipe: AnyRecipe, clips: int, budget: Budget, pace: Pace | None = None) -> AnyRecipe:
    """Return the recipe with its number of steps: the budget's, so many as fit into its seconds, or its own.

    clips: how many are trained on. pace: where the budget is in seconds. Schedules that depend on the number of steps
    follow it.
    """
    if budget.steps is not None:
        return recipe.replace(optim={"steps": budget.steps})
    if budget.seconds is not None:
        assert pace is not None
        return recipe.replace(optim={"steps": pace.steps(budget.seconds, warm_up_steps(recipe, clips))})
    own = recipe.optim.steps or recipe.optim.epochs * Order(clips, recipe.optim.batch, 0).steps_per_epoch
    return recipe.replace(optim={"steps": own})


def training_seconds(folder: Path, batch: int, until: int) -> tuple[float, int]:
    """Return how long a run's steps took up to a saved one, from its log, and the last step that is told of there.

    Stops in between and steps a kill undid do not count. Where a record is missing before a stop, the next one's pace
    stands for its steps.
    """
    held = [record for record in read_log(folder) if record["step"] <= until]
    return sum(took for _, took in _pieces(held, batch)), held[-1]["step"] if held else 0


def measured_pace(recipe: AnyRecipe, clips: Clips | Stream, folder: Path, options: dict[str, Any]) -> Pace:
    """Measure how fast a recipe is trained, in short runs of their own that are thrown away.

    A recipe with a warm-up has two: one that stays in it, one that begins behind it.
    Raises: Stopped where a signal came; as ``train``.
    """
    if not warm_up_steps(recipe, len(clips)):
        return Pace(_steps_a_second(recipe, clips, folder, options))
    before, behind = (
        _steps_a_second(recipe.replace(settings={"warm_up": epochs}), clips, folder, options) for epochs in (LONGEST, 0)
    )
    return Pace(behind, before)


def _steps_a_second(recipe: AnyRecipe, clips: Clips | Stream, folder: Path, options: dict[str, Any]) -> float:
    from diffsda.train.loop import train
    from diffsda.train.options import Options

    shutil.rmtree(folder, ignore_errors=True)
    short = recipe.replace(optim={"steps": MEASURED})
    try:
        result = train(short, clips, folder, Options(**options, log_every=FIRST, save_every=MEASURED))
        if result.signal is not None:
            raise Stopped(result.signal, "measuring how fast it is trained")
        pieces = _pieces(read_log(folder), recipe.optim.batch)[1:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return sum(steps for steps, _ in pieces) / sum(took for _, took in pieces)


@dataclass
class Limit:
    """Told of a training's records, asks it to stop at the first one past its seconds."""

    seconds: float | None
    batch: int
    tell: Tell
    spent: float = 0.0
    """Seconds so far, those before a stop too."""
    step: int = 0
    reached: bool = field(default=False, init=False)

    def __call__(self, step: int, total: int, values: dict[str, float]) -> None:
        """Take note of a record."""
        self.spent += (step - self.step) * self.batch / values["clips_per_s"]
        self.step = step
        self.tell(step, total, values)
        past = self.seconds is not None and self.spent >= self.seconds
        # The loop leaves in good order on a signal, which only reaches it in the main thread.
        if past and not self.reached and threading.current_thread() is threading.main_thread():
            self.reached = True
            signal.raise_signal(signal.SIGTERM)


def _pieces(log: list[dict[str, Any]], batch: int) -> list[tuple[int, float]]:
    """Return steps and seconds between the records of a log."""
    out, before = [], 0
    for record in log:
        steps, before = record["step"] - before, record["step"]
        out.append((steps, steps * batch / record["clips_per_s"]))
    return out
