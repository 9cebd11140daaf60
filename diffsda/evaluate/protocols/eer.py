"""Tables 4 and 16: can a speaker be told by s, and not by d? Equal error rates of verification, and their gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffsda.data.audio import speech_trials
from diffsda.data.audio.speech_trials import Trials
from diffsda.errors import InputError, MissingPackage
from diffsda.evaluate.clip_labels import clip_label
from diffsda.evaluate.codes import codes_of
from diffsda.evaluate.eer import equal_error_rate, equal_error_rate_bisection, pair_scores
from diffsda.evaluate.job import Job
from diffsda.evaluate.lengths import Array, Floats
from diffsda.evaluate.probe import mean_over_time
from diffsda.evaluate.result import NAN, Row
from diffsda.evaluate.settings import settings
from diffsda.evaluate.sound import form_of, waves
from diffsda.evaluate.tried import tried
from diffsda.evaluate.utterances import Utterances, utterances

MOST = 5000
"""Utterances compared with each other: 12.5 million pairs."""
Pairs = tuple[Floats, Array]


@dataclass(frozen=True, eq=False)
class _Said:
    """Utterances, who said them, and the lists of pairs that are to be told, if there are any."""

    utterances: Utterances
    speaker: Array
    lists: dict[str, Trials]


@dataclass(frozen=True, eq=False)
class _Way:
    """A way of counting: which pairs, and what of their scores."""

    suffix: str
    """Of the rows' metric."""
    words: str
    pairs: int
    score: Callable[[Floats], Pairs]
    """From vectors (U, E) of the utterances to the cosines of the pairs (P,), and whether one speaker says both."""
    rate: Callable[[Floats, Array], float]


def run(job: Job) -> list[Row]:
    """Verify speakers by the cosine of s, and of d averaged over frames, both averaged over an utterance's clips.

    Pairs are those of the folder's lists (trials.json), each list and all together; where there are none, all pairs of
    utterances of the test part, and where clips belong to no utterance, all pairs of clips. The mean over what is
    compared is taken off first and the rate interpolated; the rows ``..._bisection`` are of all pairs, nothing is
    taken off, and the rate is the one that the authors' search stops at. Beside them: the mean of the features
    themselves, and for speech an embedder of voices, on sound made from the real spectra.
    as_published: the plain rows are counted like the rows ``..._bisection``, which are left out, and lists passed over.
    Options: speaker (a label, the first static one; of several, who shares all is one), utterances (the most that are
    compared, 5000, drawn by the seed), voices (False leaves the embedder out).
    Raises: InputError if there is no speaker, or an utterance of two.
    """
    asked = {name: ",".join(value) if isinstance(value, list) else value for name, value in job.options.items()}
    wanted = settings(asked, speaker=job.static[0] if job.static else "", utterances=MOST, voices=True)
    said = _said(job, wanted["speaker"].split(","), wanted["utterances"])
    codes = codes_of(job.model, job.test, job.batch)
    s, d = (said.utterances.mean(x) for x in (codes.static, codes.dynamic_mean()))
    rows = _gaps(job, said, s, d)
    raw = job.test.x.reshape(*job.test.x.shape[:2], -1)
    features = said.utterances.mean(mean_over_time(raw, job.test.lengths))
    rows += _baseline(job, said, features, "mean of the features over the utterance")
    if job.model.recipe.clips.modality == "audio" and wanted["voices"]:
        rows += _voices(job, said)
    return rows


def draws(job: Job) -> bool:
    """Return whether a seed changes a value: whether there are more utterances than are compared."""
    return len(utterances(job.test)) > int(job.options.get("utterances", MOST))


def _gaps(job: Job, said: _Said, s: Floats, d: Floats) -> list[Row]:
    """Return the rates by s and by d and how far they are apart, each way of counting."""
    rows = []
    for way in _ways(job, said):
        static, why = _rate(way, s)
        dynamic, or_why = _rate(way, d)
        for name, value, reason, about in (
            ("static", static, why, "speaker verified by s"),
            ("dynamic", dynamic, or_why, "speaker verified by d"),
            ("gap", dynamic - static, why or or_why, "rate by d less rate by s"),
        ):
            row = _row(f"eer_{name}{way.suffix}", value, about + way.words, way.pairs, reason)
            rows.append(row if name == "static" else replace(row, better="higher"))
    return rows


def _baseline(job: Job, said: _Said, x: Floats, about: str) -> list[Row]:
    """Return the rates by other vectors (U, E) of the utterances, beside those by s."""
    rows = []
    for way in _ways(job, said):
        value, why = _rate(way, x)
        rows.append(replace(_row(f"eer_static{way.suffix}", value, about + way.words, way.pairs, why), baseline=True))
    return rows


def _rate(way: _Way, x: Floats) -> tuple[float, str]:
    return tried(lambda: way.rate(*way.score(x)))


def _voices(job: Job, said: _Said) -> list[Row]:
    """Return the rates by a pretrained embedder of voices; NaN with a reason where there is none, or no sound."""
    about = "embedder of voices, on sound made from the real spectra"
    try:
        form, judge = form_of(job), job.shelf.voices()
    except (InputError, MissingPackage) as error:
        nothing = _row("eer_static", NAN, about, None, str(error))
        return [replace(nothing, baseline=True)]
    vectors = judge.embed(waves(job, job.test.x, said.utterances, form), form.rate)
    heard = np.isfinite(vectors.sum(axis=1))
    them = _Said(said.utterances.select(np.flatnonzero(heard)), said.speaker[heard], _within(said, heard))
    if heard.sum() < 2:
        rows = [
            replace(_row("eer_static", NAN, about, 0, "it heard a voice in fewer than two utterances"), baseline=True)
        ]
    else:
        rows = _baseline(job, them, vectors[heard], about)
    return [replace(row, judge=judge.name, substitute=judge.substitute, missed=float(1 - heard.mean())) for row in rows]


def _ways(job: Job, said: _Said) -> list[_Way]:
    everyone = len(said.utterances) * (len(said.utterances) - 1) // 2

    def all_pairs(x: Floats) -> Pairs:
        return pair_scores(x, said.speaker, centre=True)

    def all_pairs_as_they_are(x: Floats) -> Pairs:
        return pair_scores(x, said.speaker, centre=False)

    def listed(*lists: Trials) -> Callable[[Floats], Pairs]:
        return lambda x: (
            np.concatenate([one.scores(x, said.utterances.ids) for one in lists]),
            np.concatenate([one.same for one in lists]),
        )

    published = _Way("", "", everyone, all_pairs_as_they_are, equal_error_rate_bisection)
    published = replace(published, words=", all pairs, as the authors count")
    if job.as_published:
        return [published]
    again = replace(published, suffix="_bisection")
    if not said.lists:
        return [_Way("", "", everyone, all_pairs, equal_error_rate), again]
    held = said.lists
    total = sum(len(one.same) for one in held.values())
    ways = [_Way("", ", pairs of all lists", total, listed(*held.values()), equal_error_rate)]
    for name, one in held.items():
        ways.append(_Way(f"_{name}", f", {name}: {one.shared}", len(one.same), listed(one), equal_error_rate))
    return [*ways, again]


def _said(job: Job, names: list[str], most: int) -> _Said:
    if not all(names):
        there = ", ".join(job.test.labels) or "none"
        raise InputError(
            f"--static: got no label of who speaks, expected one of those of the clips: {there}; name it with --static "
            "NAME or --set speaker=NAME"
        )
    whole = utterances(job.test)
    speaker = _who(np.stack([whole.label(clip_label(job.test, name), name) for name in names], 1))
    known: Array = np.flatnonzero(speaker >= 0)
    if len(known) < 2:
        words = ", ".join(names)
        raise InputError(f"eer: got {len(known)} utterances with the label {words}, expected at least two")
    if len(known) > most:
        known = np.sort(np.random.default_rng(job.seed).permutation(known)[:most])
    said = _Said(whole.select(known), speaker[known], {})
    # Lists are of the test part: elsewhere their utterances are others.
    if job.split != "test" or job.folder is None or not (Path(job.folder) / speech_trials.NAME).is_file():
        return said
    lists = speech_trials.read(job.folder)
    return replace(said, lists=_within(replace(said, lists=lists), np.ones(len(known), bool)))


def _who(labels: Array) -> Array:
    """Number the speakers (U,) that labels (U, L) tell apart, -1 where one of them is not known."""
    if labels.shape[1] == 1:
        return labels[:, 0]
    _, who = np.unique(labels, axis=0, return_inverse=True)
    return np.where((labels >= 0).all(axis=1), who.reshape(-1), -1)


def _within(said: _Said, kept: Array) -> dict[str, Trials]:
    """Return the lists with the pairs of utterances that are kept (U,); a list that lost all its pairs goes."""
    ids = said.utterances.ids[kept]
    lists = {}
    for name, one in said.lists.items():
        both = np.isin(one.first, ids) & np.isin(one.second, ids)
        if both.any():
            lists[name] = Trials(one.name, one.shared, one.first[both], one.second[both], one.same[both])
    return lists


def _row(metric: str, value: float, about: str, count: int | None, reason: str) -> Row:
    return Row(metric=metric, values=(value,), unit="share", better="lower", about=about, count=count, reason=reason)
