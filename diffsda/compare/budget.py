"""An equal budget: so many steps for every system, or so many seconds of this machine."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable
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
WARM_UP = 40
"""Steps of the run that measures how fast a system is trained."""
FIRST = 10
"""Of these, how many do not count: memory is found and kernels are chosen in them."""


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


def with_steps(recipe: AnyRecipe, clips: int, budget: Budget, rate: float | None = None) -> AnyRecipe:
    """Return the recipe with its number of steps: the budget's, so many as fit into its seconds, or its own.

    clips: how many are trained on. rate: steps a second, where the budget is in seconds. Schedules that depend on the
    number of steps follow it.
    """
    if budget.steps is not None:
        return recipe.replace(optim={"steps": budget.steps})
    if budget.seconds is not None:
        assert rate is not None
        return recipe.replace(optim={"steps": max(1, int(budget.seconds * rate))})
    own = recipe.optim.steps or recipe.optim.epochs * Order(clips, recipe.optim.batch, 0).steps_per_epoch
    return recipe.replace(optim={"steps": own})


def training_seconds(folder: Path, batch: int, until: int) -> tuple[float, int]:
    """Return how long a run's steps took up to a saved one, from its log, and the last step that is told of there.

    Stops in between and steps a kill undid do not count. Where a record is missing before a stop, the next one's pace
    stands for its steps.
    """
    held = [record for record in read_log(folder) if record["step"] <= until]
    return sum(took for _, took in _pieces(held, batch)), held[-1]["step"] if held else 0


def steps_a_second(recipe: AnyRecipe, clips: Clips | Stream, folder: Path, options: dict[str, Any]) -> float:
    """Measure how many steps a second a recipe is trained with, in a short run of its own that is thrown away.

    Raises: as ``train``.
    """
    from diffsda.train.loop import train
    from diffsda.train.options import Options

    shutil.rmtree(folder, ignore_errors=True)
    short = recipe.replace(optim={"steps": WARM_UP})
    try:
        result = train(short, clips, folder, Options(**options, log_every=FIRST, save_every=WARM_UP))
        if result.signal is not None:
            raise KeyboardInterrupt
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
