"""The first pairs' swaps by every system, drawn side by side into a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.evaluate.job import Job
    from diffsda.evaluate.protocols.swaps import Part


def draw(jobs: Mapping[str, Job], count: int, path: Path) -> bool:
    """Draw the first swaps of every system, by its name; return whether there is a figure: nobody can look at latents.

    count: pairs, at most.
    Raises: InputError if there is no pair; as ``save``.
    """
    from diffsda.compare.figure import compare_figure
    from diffsda.evaluate.pairs import of_job
    from diffsda.evaluate.protocols.swaps import Part, clips_at, swapped
    from diffsda.evaluate.protocols.truth import Truth
    from diffsda.report.canvas import save

    some = next(iter(jobs.values()))
    form = some.model.recipe.clips
    if form.latent or (form.modality == "video" and form.channels not in (1, 3)):
        return False
    first, second = of_job(some, own_list=False)
    rows = first[:count], second[:count]
    columns = [(words, _cut(clips_at(some, held))) for words, held in zip(DONORS, rows, strict=True)]
    for name, job in jobs.items():
        columns.append((name, [clip for part in swapped(job, rows, job.start) for clip in _cut(part)]))
    try:
        truth = Truth(some, rows).part(slice(0, len(rows[0])))
        columns.append(("truth", _cut(Part(truth, clips_at(some, rows[1]).lengths))))
    except InputError:
        pass  # The set does not say what swaps should look like.
    save(
        compare_figure(columns, unit="log mel" if form.modality == "audio" else "value"),
        path,
        recipe=" ".join(job.model.recipe.digest for job in jobs.values()),
        seed=some.seed,
        keys=[f"{a}x{b}" for a, b in zip(*rows, strict=True)],
    )
    return True


DONORS = ("static donor", "dynamics donor")


def _cut(part: Part) -> list[Any]:
    """Return clips without their padding."""
    return [x if part.lengths is None else x[: part.lengths[i]] for i, x in enumerate(part.x)]
