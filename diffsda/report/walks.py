"""Pictures of what the factors hold: clips along their principal components, and clips that a prior made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.prior.latent import LatentPrior
from diffsda.report.factors import static_scatter
from diffsda.report.gallery import SMALL, Donors
from diffsda.report.sections import Section, Text
from diffsda.report.strip import strip
from diffsda.report.subject import Subject
from diffsda.report.traversal import sheet
from diffsda.tasks.generate import frame_shape
from diffsda.tasks.own_prior import FactorPrior
from diffsda.tasks.pool import gather
from diffsda.tasks.traverse import Factor, components, traverse

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.evaluate.lengths import Array

ALPHAS = (-2.0, -1.0, 0.0, 1.0, 2.0)
COMPONENTS = 3
DRAWN = 4096
"""Samples of a prior that components are found in."""
ENCODED = 512
"""Clips that components are found in, where there is no prior."""
WORDS = {"static": "s", "dynamic": "d, moved alike in every frame"}


def pool_of(
    subject: Subject, prior: LatentPrior | None, clips: Clips | None, into: Callable[[Clips], Clips]
) -> tuple[Factors, Array | None, str]:
    """Return the factors components are found in, the lengths that count, and where they are from.

    They are samples of the prior, as in the paper, or encoded clips where there is none.
    """
    if prior is not None:
        with subject.watch("samples of the prior") as track:
            return prior.sample(DRAWN, subject.seed, track=track), None, f"{DRAWN:,} samples of the prior"
    assert clips is not None
    few = _spread(clips)
    ready = into(few)
    return gather(subject.model, ready, as_is=True, batch=subject.batch), ready.lengths, f"{len(few):,} encoded clips"


def traversals(
    subject: Subject, factor: Factor, pool: tuple[Factors, Array | None, str], donors: Donors | None
) -> list[Section]:
    """Draw a walk from one clip along the first components of a factor; without clips, from a sample of the prior."""
    drawn, within, source = pool
    width = (drawn.static if factor == "static" else drawn.dynamic).shape[-1]
    found = components(drawn, factor, min(COMPONENTS, width), lengths=within)
    first = np.array([0])
    if donors is None:
        f, lengths, name = drawn[first], None, "a sample of the prior"
        shape = (1, f.frames, *frame_shape(subject.model))
        shared = subject.model.shared_noise
        start = SampleNoise(subject.seed, shape, like=subject.model._like(), shared=shared)()
    else:
        f, start, name = donors.factors[first], donors.codes[first], donors.names(first)[0]
        lengths = None if donors.lengths is None else donors.lengths[first]
    with subject.watch(f"traversal of {factor} factors") as track:
        made = traverse(
            subject.model,
            f,
            start,
            found,
            ALPHAS,
            lengths=lengths,
            steps=subject.steps,
            seed=subject.seed,
            batch=subject.batch,
            track=track,
        )
    walks = made[0]
    flat = walks.reshape(-1, *walks.shape[2:])
    repeated = None if lengths is None else lengths.repeat(len(flat))
    x = subject.small(subject.back(flat, repeated), SMALL)
    x = x.reshape(*walks.shape[:2], *x.shape[1:])
    drawing = sheet(
        x,
        ALPHAS,
        lengths=None if lengths is None else lengths.repeat(len(walks)),
        titles=[f"component {k + 1} ({share:.0%})" for k, share in enumerate(found.explained)],
        limits=subject.limits,
        unit=subject.unit,
        most=3,
    )
    words = (
        f"From {name} along the principal components of {WORDS[factor]}, found in {source}; shares are of the variance "
        "they explain. In the middle column nothing is moved."
    )
    alt = f"Sheet of clips: one component of the {factor} factor a row, from low to high"
    return [
        subject.figure(drawing, words, alt, [name]),
        *subject.film([list(row) for row in x], "The same, moving.", alt),
    ]


def generated(subject: Subject, prior: FactorPrior, count: int) -> list[Section]:
    """Draw clips whose factors the prior, a fitted one or the system's own, made up."""
    with subject.watch("generated clips") as track:
        f = prior.sample(count, subject.seed, track=track)
        x = subject.sample(f, None, None, track)
    shown = subject.small(x, SMALL)
    names = [f"seed {subject.seed + i}" for i in range(count)]
    drawing = strip(shown, titles=names, limits=subject.limits, unit=subject.unit, most=8)
    if isinstance(prior, LatentPrior):
        how = f"{prior.recipe.sampling_steps} steps of {prior.recipe.rule}"
    else:
        how = "that of the system itself"
    words = f"Clips of s and d that were drawn from the prior, not taken from any clip ({how})."
    alt = f"Strips of {count} generated clips"
    return [
        Text("New clips: the prior draws s and d, the model makes the frames.", heading="Generated clips"),
        subject.figure(drawing, words, alt, names),
        *subject.film([list(shown)], "The same, moving.", alt),
    ]


def scatter(subject: Subject, clips: Clips, into: Callable[[Clips], Clips], names: Sequence[str]) -> list[Section]:
    """Draw static factors of clips in two directions, coloured by the first label that has 2 to 12 values.

    Raises: InputError if there is no such label, or the static factor is not one a clip.
    """
    few = _spread(clips)
    name = next((n for n in names if few.labels[n].ndim == 1 and 1 < len(np.unique(few.labels[n])) <= 12), None)
    if name is None:
        raise InputError("there is no static label with 2 to 12 values")
    f = gather(subject.model, into(few), as_is=True, batch=subject.batch)
    if not f.shared:
        raise InputError("there is a static factor a frame, not one a clip")
    words = clips.label_names.get(name, ())
    labels = np.array([words[v] if 0 <= v < len(words) else str(v) for v in few.labels[name]])
    drawing = static_scatter(f.static.numpy(), labels, what=name)
    caption = f"Static factors of {len(few):,} clips along their two main directions, coloured by {name}."
    return [subject.figure(drawing, f"{caption} The model never saw a label.", f"Scatter plot: {caption}")]


def _spread(clips: Clips) -> Clips:
    """Return at most ``ENCODED`` clips, evenly spaced."""
    if len(clips) <= ENCODED:
        return clips
    return clips.select(np.linspace(0, len(clips) - 1, ENCODED).round().astype(np.int64))
