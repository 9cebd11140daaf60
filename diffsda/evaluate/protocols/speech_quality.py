"""Table 12: how near reconstructed speech is to the original, and how it sounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffsda.data.audio.statistics import measure
from diffsda.errors import InputError, MissingPackage
from diffsda.evaluate.draws import base
from diffsda.evaluate.job import Job
from diffsda.evaluate.judges.kinds import SpeechQuality
from diffsda.evaluate.lengths import Array, Floats
from diffsda.evaluate.probe import frames
from diffsda.evaluate.result import NAN, Row
from diffsda.evaluate.settings import settings
from diffsda.evaluate.sound import form_of, waves
from diffsda.evaluate.spectrogram import spectrogram_mse
from diffsda.evaluate.tried import tried
from diffsda.evaluate.utterances import Utterances, utterances
from diffsda.tasks.reconstruct import reconstruct

HEARD = 100
"""Utterances that are turned into sound and rated."""
MAIN = "p808"
"""The scale of the DNSMOS that the paper cites, which has one; the others are of its successor."""
REAL = "sound from the real spectra (the reference)"


def run(job: Job) -> list[Row]:
    """Reconstruct log mel clips, from their own start noise and from the factors alone, and compare.

    Spectra are compared band by band at deviation 0.5; sound is made from them by Griffin-Lim, of the real ones as
    well, which is the row to compare ratings with: the paper's vocoder is another.
    Options: heard (utterances that are rated, 100, drawn by the seed).
    Raises: InputError if the clips are no log mel spectra.
    """
    if (modality := job.model.recipe.clips.modality) != "audio":
        raise InputError(f"speech-quality: got a model of {modality}, expected one of log mel spectra")
    wanted = settings(job.options, heard=HEARD)
    mean, std = (np.array(values) for values in measure(_frames(job, "fit")))
    seed = base(job.seed, "noise")
    own, fresh = (
        reconstruct(job.model, job.test, noise=noise, steps=job.steps, seed=seed, batch=job.batch, track=job.track)
        for noise in ("own", "fresh")
    )
    lengths = job.test.lengths
    real = job.back(job.test.x, lengths)
    made = {
        ("spectrogram_mse", "from its own start noise", False): job.back(own, lengths),
        ("spectrogram_mse_fresh", "from the factors alone", False): job.back(fresh, lengths),
        ("spectrogram_mse", "the training mean of each band", True): np.broadcast_to(mean, real.shape),
    }
    rows = []
    for (metric, about, baseline), x in made.items():
        value, why = tried(lambda x=x: spectrogram_mse(x, real, std, lengths))  # type: ignore[misc]
        rows.append(
            Row(
                metric=metric,
                values=(value,),
                unit="squared, deviation 0.5",
                better="lower",
                about=about,
                count=len(job.test),
                baseline=baseline,
                reason=why,
            )
        )
    return rows + _ratings(job, {"": own, "_fresh": fresh}, wanted["heard"])


def _ratings(job: Job, made: dict[str, Array], most: int) -> list[Row]:
    abouts = {"": "from its own start noise", "_fresh": "from the factors alone"}
    try:
        form, judge = form_of(job), job.shelf.speech_quality()
    except (InputError, MissingPackage) as error:
        rows = [_row("dnsmos" + end, abouts[end], None, str(error)) for end in made]
        return [*rows, _row("dnsmos", REAL, None, str(error), baseline=True)]
    said = _heard(job, most)
    rows = []
    for end, x in made.items():
        rows += _rated(judge, waves(job, x, said, form), form.rate, end, abouts[end])
    return rows + _rated(judge, waves(job, job.test.x, said, form), form.rate, "", REAL, baseline=True)


def _rated(
    judge: SpeechQuality, sounds: Sequence[Array], rate: int, end: str, about: str, *, baseline: bool = False
) -> list[Row]:
    return [
        _row(
            ("dnsmos" if scale == MAIN else f"dnsmos_{scale}") + end,
            about,
            ratings,
            "it rated no utterance",
            baseline=baseline,
            judge=judge,
        )
        for scale, ratings in judge.rate(list(sounds), rate).items()
    ]


def _heard(job: Job, most: int) -> Utterances:
    said = utterances(job.test)
    places = np.random.default_rng(job.seed).permutation(len(said))[:most]
    return said.select(np.sort(places))


def _frames(job: Job, part: str) -> Array:
    clips = getattr(job, part)
    return frames(job.back(clips.x, clips.lengths), clips.lengths)[0]


def _row(
    metric: str,
    about: str,
    ratings: Floats | None,
    reason: str,
    *,
    baseline: bool = False,
    judge: SpeechQuality | None = None,
) -> Row:
    known = np.zeros(0) if ratings is None else ratings[~np.isnan(ratings)]
    return Row(
        metric=metric,
        values=(float(known.mean()) if len(known) else NAN,),
        unit="of 5",
        better="higher",
        about=about,
        count=None if ratings is None else len(ratings),
        missed=None if ratings is None else 1 - len(known) / len(ratings),
        judge="" if judge is None else judge.name,
        substitute=False if judge is None else judge.substitute,
        baseline=baseline,
        reason="" if len(known) else reason,
    )
