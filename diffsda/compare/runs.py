"""Run folders of a comparison: trained once, gone on with after a stop, never trained twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsda.compare.budget import Limit, Stopped, Tell, training_seconds
from diffsda.errors import CheckpointError, InputError
from diffsda.header import newest
from diffsda.recipe import AnyRecipe
from diffsda.train.resume import FILE as STATE

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.data.stream import Stream


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training."""

    folder: Path
    step: int
    planned: int
    """Steps of its recipe: more than ``step`` where its seconds were over first."""
    seconds: float

    @property
    def spent(self) -> dict[str, Any]:
        """What it took, and the steps it was to have."""
        return {"seconds": round(self.seconds, 2), "planned": self.planned}


def finished(recipe: AnyRecipe, folder: Path, seconds: float | None = None) -> Run | None:
    """Return the run in a folder if it is at its end: its last step, or its seconds; None if it is not.

    Raises: InputError if it is a run of another recipe.
    """
    try:
        held = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    step = _saved(folder)
    if held != recipe.digest:
        raise InputError(
            f"{folder}: holds a run of recipe {held}, expected {recipe.digest}; remove it, or use another --out"
        )
    spent, _ = training_seconds(folder, recipe.optim.batch, step)
    assert recipe.optim.steps is not None
    ended = step > 0 and (step >= recipe.optim.steps or (seconds is not None and spent >= seconds))
    return Run(folder=folder, step=step, planned=recipe.optim.steps, seconds=spent) if ended else None


def trained(
    recipe: AnyRecipe,
    clips: Clips | Stream,
    folder: Path,
    tell: Tell,
    *,
    seconds: float | None = None,
    options: dict[str, Any] | None = None,
) -> Run:
    """Return the run in a folder, trained to its end: from the start, or from where a stop left it.

    recipe: with its number of steps. seconds: stop at the first record past them.
    Raises: Stopped where a signal came; as ``train``.
    """
    from diffsda.train.loop import train
    from diffsda.train.options import Options

    done = finished(recipe, folder, seconds)
    if done is not None:
        return done
    resume = (folder / STATE).is_file()
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)  # A run that was killed before it had saved anything.
    steps = recipe.optim.steps
    assert steps is not None
    how = Options(
        **(options or {}),
        resume=resume,
        log_every=max(1, min(20, steps // 100)),
        save_every=max(20, min(500, steps // 10)),
    )
    spent = training_seconds(folder, recipe.optim.batch, _saved(folder)) if resume else (0.0, 0)
    limit = Limit(seconds, recipe.optim.batch, tell, *spent)
    result = train(recipe, clips, folder, how, progress=limit)
    if result.signal is not None and not limit.reached:
        raise Stopped(result.signal, f"{folder} at step {result.step}")
    spent = training_seconds(folder, recipe.optim.batch, result.step)
    return Run(folder=folder, step=result.step, planned=steps, seconds=spent[0])


def _saved(folder: Path) -> int:
    """Return the last step whose model a run folder holds, 0 without one."""
    try:
        return int(newest(folder).stem.removeprefix("weights-"))
    except CheckpointError:
        return 0
