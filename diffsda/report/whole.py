"""The report of a run: every section in order, and the footer that says where it all comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import diffsda
from diffsda.evaluate.roles import roles
from diffsda.report import gallery, walks
from diffsda.report.budget import within
from diffsda.report.gallery import guarded
from diffsda.report.measured import result_sections
from diffsda.report.progress import training_sections
from diffsda.report.run import Run
from diffsda.report.sections import Details, Section, Text
from diffsda.report.subject import Subject
from diffsda.report.words import model_sections
from diffsda.tasks.batches import solver_steps

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.prior.latent import LatentPrior
    from diffsda.tasks.own_prior import OwnPrior


@dataclass(frozen=True, kw_only=True)
class Brought:
    """Clips to show a model with, as they were brought, and the way into the model's units."""

    clips: Clips
    into: Callable[[Clips], Clips]
    name: str
    split: str
    of: int | None = None
    """Clips in the split, where only some of them were read."""


def report_sections(
    run: Run,
    subject: Subject,
    parameters: int,
    *,
    brought: Brought | None = None,
    prior: LatentPrior | None = None,
    own: OwnPrior | None = None,
    count: int = 4,
    note: str = "",
) -> list[Section]:
    """Return everything a report says and draws, small enough for one page.

    parameters: weights of the model. own: the system's own prior, drawn from where no other was fitted. count: clips
    shown of a kind. note: what is to be said at the top.
    A picture that cannot be drawn is a sentence that says why.
    """
    sections = model_sections(run, parameters, data=" ".join(part for part in (_clips(brought), note) if part))
    sections += training_sections(run)
    sections += result_sections(run.results, run.recipe.digest, run.step)
    donors = None
    if brought is not None:
        donors = gallery.take_apart(subject, brought.clips, brought.into, count)
        sections += guarded("Reconstructions", lambda: gallery.reconstructions(subject, donors))
        sections += guarded("Swaps", lambda: gallery.swaps(subject, donors))
        sections += gallery.who(donors)
    if donors is not None or prior is not None:
        sections += _walks(subject, brought, prior, donors)
    drawing = own if prior is None else prior
    if drawing is not None:
        sections += guarded("Generated clips", lambda: walks.generated(subject, drawing, count))
    return within(sections)


def footer(run: Run, subject: Subject, brought: Brought | None, prior: LatentPrior | None) -> dict[str, object]:
    """Return where a report comes from: digests, seed, versions, data."""
    made_with = run.provenance.get("versions")
    trained = made_with if isinstance(made_with, dict) else {}
    lines: dict[str, object] = {
        "run": run.folder.resolve().name,
        "recipe": f"{run.recipe.name}, {run.recipe.digest}",
        "weights": f"{run.weights.name}, SHA-256 {run.digest}",
        "training": f"step {run.step}, seed {run.recipe.optim.seed}, on {run.provenance.get('data', 'unnamed clips')}",
        "trained with": ", ".join(f"{name} {version}" for name, version in trained.items()) or "not said",
        "report": f"diffsda {diffsda.__version__}, seed {subject.seed}"
        + (f", {solver_steps(subject.model, subject.steps)} solver steps" if subject.model.stochastic else ""),
    }
    if prior is not None:
        lines["prior"] = f"{prior.recipe.digest}, step {prior.provenance.get('step', 'unknown')}"
    if brought is not None:
        lines["clips"] = f"{brought.name}, {brought.split}: {_size(brought)}, SHA-256 {brought.clips.fingerprint()}"
    return lines


def _walks(
    subject: Subject, brought: Brought | None, prior: LatentPrior | None, donors: gallery.Donors | None
) -> list[Section]:
    """Draw walks along both factors, and the static factors of clips by label where there are labels."""
    clips, into = (None, lambda clips: clips) if brought is None else (brought.clips, brought.into)

    def draw() -> list[Section]:
        pool = walks.pool_of(subject, prior, clips, into)
        found: list[Section] = []
        found += guarded("The walk along s", lambda: walks.traversals(subject, "static", pool, donors))
        found += guarded("The walk along d", lambda: walks.traversals(subject, "dynamic", pool, donors))
        if clips is not None:
            static, _ = roles(clips.name, tuple(clips.labels))
            shown = guarded("A scatter of s by label", lambda: walks.scatter(subject, clips, into, static))
            found.append(Details("Static factors by label", tuple(shown)))
        return found

    words = "One thing is moved at a time: what changes along a row is what that direction of a factor holds."
    return [Text(words, heading="Traversals"), *guarded("Traversals", draw)]


def _clips(brought: Brought | None) -> str:
    if brought is None:
        return "No clips were named (--data), so there are neither reconstructions nor swaps here."
    return f"Pictures below are of {brought.name}, part {brought.split} ({_size(brought)})."


def _size(brought: Brought) -> str:
    held = len(brought.clips)
    return f"{held:,} clips" if brought.of in (None, held) else f"{held:,} of {brought.of:,} clips"
