"""Pictures of what a model does with clips: taken apart and put together, swapped, walked along its factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array
from diffsda.evaluate.reconstruction import mse
from diffsda.factors import Factors
from diffsda.report import choice
from diffsda.report.canvas import COLOURS
from diffsda.report.grid import swap_grid
from diffsda.report.sections import Details, Section, Table, Text
from diffsda.report.strip import strip
from diffsda.report.subject import Subject
from diffsda.report.truth import truth
from diffsda.tasks.swap import pairs
from diffsda.tasks.traverse import starts

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

SMALL = 96
"""Pixels a side of a frame in a grid, at most."""


@dataclass(frozen=True, kw_only=True)
class Donors:
    """Clips chosen to be shown, taken apart.

    ``clips`` is the whole set, as it was brought, ``rows`` say where these stand in it; ``x`` and ``lengths`` are
    theirs, in people's units. The first ``givers`` lend static factors, the others dynamics.
    """

    clips: Clips
    rows: Array
    givers: int
    x: Array
    lengths: Array | None
    factors: Factors
    codes: Tensor

    @property
    def static(self) -> Array:
        """The donors of static factors, by their place among these."""
        return np.arange(self.givers)

    @property
    def dynamic(self) -> Array:
        """The donors of dynamics."""
        return np.arange(self.givers, len(self.rows))

    def names(self, some: Array) -> list[str]:
        """Name some of them."""
        return choice.titles(self.clips, self.rows[some])


def guarded(what: str, draw: Callable[[], Sequence[Section]]) -> list[Section]:
    """Return what is drawn, or a sentence that says why it cannot be: one picture less is no reason for no report."""
    try:
        return list(draw())
    except InputError as error:
        return [Text(f"{what}: cannot be shown ({error}).")]


def take_apart(subject: Subject, brought: Clips, into: Callable[[Clips], Clips], count: int) -> Donors:
    """Choose clips, bring them into the model's units, and find their factors and codes."""
    givers, takers = choice.chosen(brought, count, subject.seed)
    rows = np.concatenate([givers, takers])
    few = into(brought.select(rows))
    with subject.watch("codes of clips") as track:
        factors, codes = starts(subject.model, few, steps=subject.steps, batch=subject.batch, track=track)
    return Donors(
        clips=brought,
        rows=rows,
        givers=len(givers),
        x=brought.x[rows],
        lengths=few.lengths,
        factors=factors,
        codes=codes,
    )


def who(donors: Donors) -> list[Section]:
    """List the clips that are shown, with their labels, folded away."""
    rows = choice.described(donors.clips, donors.rows)
    lends = ["static factor"] * donors.givers + ["dynamics"] * (len(rows) - donors.givers)
    columns = ("clip", "lends", *choice.columns(donors.clips)[1:])
    body = tuple((row[0], lent, *row[1:]) for row, lent in zip(rows, lends, strict=True))
    caption = "Drawn by the seed, unlike each other where labels tell; the model was given no labels"
    return [Details("Which clips are shown", (Table(columns, body, caption),))]


def reconstructions(subject: Subject, donors: Donors) -> list[Section]:
    """Draw clips above what comes back of them, from their own code and from fresh noise."""
    some = donors.static if subject.video else donors.static[:2]
    lengths = None if donors.lengths is None else donors.lengths[some]
    f = donors.factors[some]
    with subject.watch("reconstructions") as track:
        own = subject.sample(f, donors.codes[some], lengths, track)
        # Where nothing is drawn there is one reconstruction alone.
        made = [own, subject.sample(f, None, lengths, track)] if subject.model.stochastic else [own]
    real = donors.x[some]
    errors = "mean squared error of these: " + " and ".join(f"{mse(x, real, lengths):.3g}" for x in made)
    kinds = ("real", "own code", "fresh noise") if subject.model.stochastic else ("real", "reconstructed")
    count = len(kinds)
    shown = subject.small(np.stack([real, *made], axis=1).reshape(-1, *real.shape[1:]), SMALL)
    lines = not subject.video and real.shape[-1] <= len(COLOURS)
    drawing = strip(
        shown,
        None if lengths is None else np.repeat(lengths, count),
        titles=[f"{name}, {kind}" for name in donors.names(some) for kind in kinds],
        limits=None if lines else subject.limits,
        lines=lines,
        unit=subject.unit,
        most=8,
    )
    if subject.model.stochastic:
        words = (
            "Real clips; what comes back of them with their own start noise (the code found by inverting the sampler, "
            "which is nearly exact for any model); and from fresh noise, which shows what s and d hold alone "
            f"({errors})."
        )
        alt = "Strips in threes: a real clip, its reconstruction from its own code, and one from fresh noise"
    else:
        words = f"Real clips, and what comes back of s and d, which hold all that is kept of a clip ({errors})."
        alt = "Strips in twos: a real clip and its reconstruction"
    cells = [list(shown[k::count]) for k in range(count)]
    film = subject.film(cells, f"The same, moving: {' above '.join(kinds)}.", alt)
    return [
        Text("What stays of a clip that is taken apart and put together again.", heading="Reconstructions"),
        subject.figure(drawing, words, alt, donors.names(some)),
        *film,
    ]


def swaps(subject: Subject, donors: Donors) -> list[Section]:
    """Draw all swaps of the donors, from the dynamics donor's code and from fresh noise, and what they should be."""
    givers, takers = pairs(donors.givers, len(donors.dynamic), grid=True)
    takers = takers + donors.givers
    lengths = None if donors.lengths is None else donors.lengths[takers]
    if not donors.factors.shared and donors.lengths is not None and len(set(donors.lengths.tolist())) > 1:
        raise InputError("clips differ in length, and a static factor a frame cannot be given to a clip of another")
    mixed = donors.factors[givers].swap(donors.factors[takers])
    with subject.watch("swaps") as track:
        coded = subject.sample(mixed, donors.codes[takers], lengths, track)
        fresh = subject.sample(mixed, None, lengths, track) if subject.model.stochastic else None
    wanted = truth(donors.clips, donors.rows[givers], donors.rows[takers])
    sections: list[Section] = [
        Text(
            "Each cell keeps the static factor of the clip on its left and takes the dynamics of the clip above it."
            + ("" if wanted is None else " What a perfect swap would give is known for these clips, and drawn below."),
            heading="Swaps",
        )
    ]
    how = "Swaps" if fresh is None else "Swaps, started from the code of the clip that lends the dynamics"
    sections += _grid(subject, donors, coded, how)
    if wanted is not None:
        sections += _grid(subject, donors, wanted, "The truth: what each of these swaps should be")
        made = {"": coded} if fresh is None else {"from the donor's code": coded, "from fresh noise": fresh}
        sections += _distances(donors, givers, takers, made, wanted)
    if fresh is None:
        return sections
    words = "Swaps started from fresh noise: nothing but s and d decides these"
    return [*sections, Details("Swaps from fresh noise", tuple(_grid(subject, donors, fresh, words)))]


def _grid(subject: Subject, donors: Donors, made: Array, words: str) -> list[Section]:
    shape = (donors.givers, len(donors.dynamic))
    cells = subject.small(made, SMALL)
    cells = cells.reshape(*shape, *cells.shape[1:])
    ends = subject.small(donors.x, SMALL)
    lengths = donors.lengths
    names = donors.names(donors.static), donors.names(donors.dynamic)
    drawing = swap_grid(
        ends[donors.static],
        ends[donors.dynamic],
        cells,
        static_lengths=None if lengths is None else lengths[donors.static],
        dynamic_lengths=None if lengths is None else lengths[donors.dynamic],
        titles=names,
        limits=subject.limits,
        unit=subject.unit,
        most=4,
    )
    alt = f"Grid of {shape[0]} by {shape[1]} clips: static donors down the left, dynamics donors along the top"
    film = subject.film(
        [[None, *ends[donors.dynamic]], *([ends[i], *cells[i]] for i in range(shape[0]))], f"{words}, moving.", alt
    )
    return [subject.figure(drawing, f"{words}.", alt, [*names[0], *names[1]]), *film]


def _distances(donors: Donors, givers: Array, takers: Array, made: dict[str, Array], wanted: Array) -> list[Section]:
    """Say how far swaps are from the truth, beside clips that were only copied."""
    lengths = None if donors.lengths is None else donors.lengths[takers]
    rows: list[tuple[str, str]] = [
        (f"swaps {how}".strip(), f"{mse(x, wanted, lengths):.4g}") for how, x in made.items()
    ]
    rows.append(("copies of the dynamics donor", f"{mse(donors.x[takers], wanted, lengths):.4g}"))
    tones = [""] * len(made) + ["baseline"]
    # A clip of another length cannot be set against a frame by frame.
    if lengths is None:
        rows.append(("copies of the static donor", f"{mse(donors.x[givers], wanted):.4g}"))
        tones.append("baseline")
    caption = f"Mean squared error to the truth over these {len(wanted)} swaps, lower is better"
    return [Table(("what", "error"), tuple(rows), caption, tuple(tones), numbers=("error",))]  # type: ignore[arg-type]
