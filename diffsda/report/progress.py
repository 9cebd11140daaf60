"""How a training went: its curves, and the prior's."""

from __future__ import annotations

import math
from typing import Any

from diffsda.errors import InputError
from diffsda.report.canvas import png
from diffsda.report.curves import loss_curve, rate_curve, term_curves
from diffsda.report.run import Record, Run
from diffsda.report.sections import Details, Figure, Section, Text

TERM = "loss_"
"""What the names of a loss's terms begin with in the log."""


def training_sections(run: Run) -> list[Section]:
    """Draw the loss and the learning rate of a run, and the loss of its prior if it has one.

    What cannot be drawn is said instead.
    """
    about: dict[str, Any] = {"recipe": run.recipe.digest, "checkpoint": run.digest[:12], "seed": run.recipe.optim.seed}
    sections: list[Section] = [Text(_ends(run), heading="Training")]
    if run.log:
        sections.append(_loss(run.log, "Loss of the training", about))
        sections += _terms(run.log, about)
        rates = [(r["step"], r["lr"]) for r in run.log if _finite(r.get("lr"))]
        if rates:
            figure = rate_curve(*map(list, zip(*rates)))
            words = "Learning rate over optimiser steps"
            sections.append(Details("Learning rate", (Figure(png(figure, **about), f"{words}.", f"Curve: {words}"),)))
    if run.prior is not None:
        sections.append(
            _loss(run.prior_log, "Loss of the prior over factors", about)
            if run.prior_log
            else Text("The prior's log is not there, so its curve cannot be drawn.")
        )
    return sections


def _ends(run: Run) -> str:
    if not run.log:
        return f"{run.folder.name} holds no log.jsonl with records, so there are no curves to draw."
    last = run.log[-1]
    speed = f" at {last['clips_per_s']:.3g} clips a second" if _finite(last.get("clips_per_s")) else ""
    loss = f"{last['loss']:.4g}" if _finite(last.get("loss")) else "not finite"
    return f"The log goes to step {last['step']:,}{speed}; the loss there is {loss}."


def _loss(log: list[Record], words: str, about: dict[str, Any]) -> Section:
    pairs = [(record["step"], record["loss"]) for record in log if isinstance(record.get("loss"), (int, float))]
    try:
        if not pairs:
            raise InputError("no record has a loss")
        figure = loss_curve(*map(list, zip(*pairs)))
    except InputError as error:
        return Text(f"{words}: cannot be drawn ({error}).")
    return Figure(png(figure, **about), f"{words}.", f"Curve: {words} over optimiser steps, with a running mean")


def _terms(log: list[Record], about: dict[str, Any]) -> list[Section]:
    """Draw the named terms of a loss that has several."""
    names = [name for name in log[-1] if name.startswith(TERM)]
    held = [record for record in log if all(isinstance(record.get(name), (int, float)) for name in names)]
    if not names:
        return []
    words = "Terms of the loss over optimiser steps, each before its weight"
    try:
        values = {name.removeprefix(TERM): [record[name] for record in held] for name in names}
        figure = term_curves([record["step"] for record in held], values)
    except InputError as error:
        return [Text(f"Terms of the loss: cannot be drawn ({error}).")]
    return [Details("Terms of the loss", (Figure(png(figure, **about), f"{words}.", f"Curves: {words}"),))]


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
