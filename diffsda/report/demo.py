"""The page of the demonstration: what was trained, how it scores, and what its swaps look like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffsda.evaluate.disentanglement import Scores as Measured
from diffsda.firststage.clips import raw
from diffsda.inference import Session
from diffsda.model import DiffSDA
from diffsda.report.canvas import save
from diffsda.report.curves import loss_curve, rate_curve
from diffsda.report.factors import dynamic_curves, static_scatter
from diffsda.report.page import write_page
from diffsda.report.reconstructions import draw_reconstructions
from diffsda.report.sections import Details, Figure, Score, Scores, Section, Table, Text
from diffsda.report.swaps import draw_swaps
from diffsda.tasks.encode import encode
from diffsda.tasks.reconstruct import reconstruct
from diffsda.train.log import read_log

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

SHOWN = 4
"""Clips drawn in the grid and the strips."""


def write_demo(
    folder: Path, model: DiffSDA, test: Clips, scores: Measured, *, label: str, seed: int, split: str
) -> Path:
    """Draw a run's figures into ``folder/figures`` and write ``folder/index.html``; return the page's path.

    ``test`` is whitened and comes from ``split``; the first start noise policy of ``scores`` is the main one.
    Raises: SaveError if something cannot be written.
    """
    (folder / "figures").mkdir(exist_ok=True)
    figures = _draw(folder, model, test, label=label, seed=seed)
    main = next(iter(scores.swaps))
    sections: list[Section] = [
        Text(
            f"A model of {sum(p.numel() for p in model.parameters()):,} weights was trained without labels on "
            f"{model.provenance['clips']} utterances of the vowels /ae/ by nine speakers (12 LPC cepstra a frame, 7 "
            f"to 29 frames). It takes each one apart into one static factor s and one dynamic factor d a frame. "
            f"Everything below is on the {len(test)} utterances of {split}."
        ),
        Scores(tuple(goals(scores)), caption=f"Scores on {split}; swaps start from {_source(main)}"),
        _comparison(scores),
        figures["swaps"],
        figures["strips"],
        figures["static"],
        figures["dynamic"],
        figures["loss"],
        Details("Learning rate", (figures["rate"],)),
        Text(
            "Probes are linear (standardised inputs, logistic regression) and fitted on the training split; the judge "
            "reads the speaker from the time mean of a real or swapped utterance. Everybody says the same two vowels, "
            "so what is dynamic here is the timing and shape of the transition: a weak contrast, and a speaker's way "
            "of moving is partly his own. A swap takes its dynamics from another speaker's utterance. The motion of "
            "a swap is compared after taking the time mean away, stretched to one length. Where swaps from fresh noise "
            "move less like the dynamics donor than like the static donor, the factors alone do not carry the motion: "
            "the donor's start noise does. Reconstruction from a clip's own start noise is nearly exact for any model.",
            heading="How to read this",
        ),
    ]
    footer = {"recipe": model.recipe.digest, "seed": seed, "steps": model.provenance.get("step", "")}
    return write_page(folder / "index.html", "DiffSDA on Japanese Vowels", sections, footer=footer)


def goals(s: Measured) -> list[Score]:
    """Return the scores with the goals they are held against."""
    swaps = next(iter(s.swaps.values()))
    closer = swaps.trajectory_to_dynamic - swaps.trajectory_to_static
    raw_mean = f"raw time mean: {s.accuracy_mean_feature:.3f}"
    return [
        Score("speaker read from s", s.accuracy_static, 0.97, note=raw_mean),
        Score("speaker read from one frame of d", s.accuracy_dynamic_frame, 0.20, "lower", "chance: 0.11"),
        Score("speaker read from all frames of d", s.accuracy_dynamic_all, note="what still leaks"),
        Score("equal error rate of s", s.eer_static, 0.12, "lower", f"raw time mean: {s.eer_mean_feature:.3f}"),
        Score("equal error rate of d", s.eer_dynamic, 0.36, note="chance: 0.5"),
        Score("swaps read as the static donor", swaps.read_as_static, 0.87, note=f"real clips: {s.judge_on_real:.3f}"),
        Score("swaps read as the dynamics donor", swaps.read_as_dynamic, note="lower is better"),
        Score("motion closer to the dynamics donor by", closer, 0.05, note="difference of the two cosines"),
        Score("cosine of motion to the dynamics donor", swaps.trajectory_to_dynamic),
        Score("cosine of motion to the static donor", swaps.trajectory_to_static),
        Score("reconstruction MSE, own start noise", s.reconstruction_mse, digits=5, note="variance of the data: 0.25"),
        Score("reconstruction MSE, fresh start noise", s.reconstruction_mse_fresh, note="what the factors alone hold"),
    ]


def _source(noise: str) -> str:
    return {
        "dynamic": "the dynamics donor's stochastic code",
        "static": "the static donor's stochastic code",
        "fresh": "fresh noise",
        "shared": "fresh noise shared over frames",
    }[noise]


def _comparison(scores: Measured) -> Table:
    names = ("read_as_static", "read_as_dynamic", "trajectory_to_dynamic", "trajectory_to_static")
    rows = tuple((_source(noise), *(f"{getattr(s, n):.3f}" for n in names)) for noise, s in scores.swaps.items())
    columns = (
        "start noise of the swap",
        "read as static donor",
        "as dynamics donor",
        "cosine to dynamics",
        "to static",
    )
    return Table(columns, rows, caption="Where the start noise of a swap comes from makes a difference")


def _draw(folder: Path, model: DiffSDA, test: Clips, *, label: str, seed: int) -> dict[str, Figure]:
    labels = test.labels[label]
    shown = _one_a_label(labels)[:SHOWN]
    few = test.select(shown)
    names = [f"{label} {labels[i] + 1}" for i in shown]
    step = model.provenance.get("step", "")
    about = {"recipe": model.recipe.digest, "seed": seed, "step": step}
    place = folder / "figures"
    session = Session(model)
    swaps = draw_swaps(
        session,
        few,
        few,
        place / "swaps.png",
        seed=seed,
        titles=(names, names),
        back=lambda x, lengths: raw(x, None, lengths),
        unit="whitened",
        step=step,
    )
    paths = {"swaps": swaps}
    back = reconstruct(session, few, seed=seed, noise="fresh")
    paths["strips"] = draw_reconstructions(
        few, back, place / "strips.png", names=names, how="from s and d", unit="whitened cepstrum", **about
    )
    factors = encode(session, test)
    static, dynamic = factors.static.numpy(), factors.dynamic.numpy()
    records = read_log(folder)
    steps, losses = [r["step"] for r in records], [r["loss"] for r in records]
    drawn = {
        "static": static_scatter(static, labels + 1, what=label),
        "dynamic": dynamic_curves(dynamic, labels + 1, test.lengths, what=label),
        "loss": loss_curve(steps, losses),
        "rate": rate_curve(steps, [r["lr"] for r in records]),
    }
    for name, figure in drawn.items():
        paths[name] = save(figure, place / f"{name}.png", **about)
    return {name: Figure(path.read_bytes(), *_WORDS[name]) for name, path in paths.items()}


_WORDS = {
    "swaps": (
        "Each cell keeps the static factor of the utterance on its left and takes the dynamics of the one above it.",
        "Grid of swaps between four utterances of four speakers, drawn as heat strips of cepstra over time",
    ),
    "strips": (
        "Utterances and what the factors alone hold of them (sampled from fresh noise).",
        "Pairs of heat strips: a real utterance above its reconstruction",
    ),
    "static": (
        "Static factors of the test utterances, coloured by speaker; the model never saw a label.",
        "Scatter plot of static factors along two principal directions; speakers form clusters",
    ),
    "dynamic": (
        "Dynamic factors over time, coloured by speaker: they should look alike for all of them.",
        "Lines of dynamic factors over frames, one colour a speaker",
    ),
    "loss": ("Training loss.", "Curve of the training loss over steps"),
    "rate": ("Learning rate.", "Curve of the learning rate over steps"),
}


def _one_a_label(labels: np.ndarray) -> np.ndarray:
    """Return the first clip of every label."""
    return np.array([int(np.flatnonzero(labels == value)[0]) for value in np.unique(labels)])
