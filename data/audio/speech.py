"""Speech of nine people from Debian packages: telephone prompts in five languages, a game's dialogue in two."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.audio import speech_trials
from diffsda.data.audio.ahead import ahead, workers
from diffsda.data.audio.speech_clips import (
    FLOOR,
    FMAX,
    FMIN,
    FRAMES,
    HOP,
    LEAST,
    LEVEL,
    MELS,
    N_FFT,
    QUIET,
    RATE,
    Cut,
    cut,
)
from diffsda.data.audio.speech_licences import write_licences
from diffsda.data.audio.speech_sources import EMPTY, PACKAGES, SHARES, VOICES, Recording, recordings, split_of, summary
from diffsda.data.audio.statistics import measure
from diffsda.data.check import Array
from diffsda.data.debian import Unpacked, fetch
from diffsda.data.prepared import SPLITS, Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import Parts, Tell, begin, leave, note, silent
from diffsda.data.stream import Watch, unwatched
from diffsda.errors import InputError

STORE = "packages"
"""Folder below the prepared one where packages lie while the set is made."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was prepared, and what of the recordings did not become clips."""

    dataset: Dataset
    recordings: int
    """Those that became clips."""
    short: int
    """Left out: less than 0.3 s of speech."""
    filled: int
    """Shorter than a clip even with their pauses: silence was put around them."""
    empty: int
    """Left out: published without samples."""
    trials: dict[str, int]
    """Pairs of utterances in each list."""


def prepare(
    out: Path,
    *,
    root: Path | None = None,
    problems: Problems,
    tell: Tell = silent,
    watch: Watch = unwatched,
    threads: int | None = None,
) -> Made:
    """Fetch the packages, or take them from ``root``, and write clips, trials and licences as a prepared folder.

    Shapes: x (N, 48, 40) float32, log mel magnitudes of 600 ms at 8 kHz (see ``speech_clips.cut``). Labels (N,):
    speaker, voice, language, gender, package, prompt, utterance (over all parts), chunk (windows of an utterance).
    Parts are by prompt, over all voices: no prompt of val or test is in train. The lists of trials (see
    ``speech_trials.read``) are on test. A killed run fetches nothing twice; the rest takes a minute and is done again.
    Raises: InputError if packages cannot be had, hold nothing to train on or ``threads`` is below 1; DiffSDAError if a
    download fails; MissingPackage without soundfile; SaveError.
    """
    if threads is not None and threads < 1:
        raise InputError(f"--threads: got {threads}, expected at least 1")
    begin(out)
    trees = {p.name: fetch(p.name, out / STORE, root=root, tell=tell) for p in PACKAGES}
    found = {voice.name: recordings(voice, trees[voice.package].tree) for voice in VOICES}
    for voice in VOICES:
        if not found[voice.name]:
            problems.add(trees[voice.package].tree, f"holds no recording of {voice.name}, expected {voice.package}")
    tell(summary(found))
    every = [one for voice in VOICES for one in found[voice.name]]
    cuts, counts = _cut(every, problems, watch, threads or workers())
    parts = _parts(cuts)
    if "train" not in parts:
        raise InputError("speech: no recording is left to train on; see what was told above")
    trials = _trials(parts)
    speech_trials.write(out, trials)
    write_licences(out, trees, problems)
    held = leave(out, _dataset(cuts, parts, trees), parts, problems)
    shutil.rmtree(out / STORE, ignore_errors=True)
    made = Made(
        dataset=held,
        recordings=len(cuts),
        short=counts["short"],
        filled=counts["filled"],
        empty=counts["empty"],
        trials={one.name: len(one.same) for one in trials},
    )
    tell(_words(made))
    return made


def _cut(
    every: list[Recording], problems: Problems, watch: Watch, threads: int
) -> tuple[list[tuple[Recording, Cut]], Counter[str]]:
    out, counts = [], Counter[str]()
    for one, result in watch(ahead(lambda one: cut(one.path), every, threads), len(every), "recordings"):
        try:
            made = result.result()
        except InputError as error:
            if one.key in EMPTY:
                counts["empty"] += 1
            else:
                note(problems, one.path, error)
            continue
        if len(made.x):
            counts["filled"] += made.filled
            out.append((one, made))
        else:
            counts["short"] += 1
    return out, counts


def _parts(cuts: list[tuple[Recording, Cut]]) -> Parts:
    names = _names(cuts)
    parts: Parts = {}
    for split in SPLITS:
        rows = [(i, one, made) for i, (one, made) in enumerate(cuts) if split_of(one.prompt) == split]
        if rows:
            labels = [_labels(i, one, len(made.x), names) for i, one, made in rows]
            parts[split] = {"x": np.concatenate([made.x for _, _, made in rows])}
            parts[split] |= {name: np.concatenate([label[name] for label in labels]) for name in labels[0]}
    return parts


def _labels(utterance: int, one: Recording, count: int, names: dict[str, tuple[str, ...]]) -> dict[str, Array]:
    said = _said(one)
    held = {name: np.full(count, words.index(said[name]), np.int64) for name, words in names.items() if name in said}
    return held | {"utterance": np.full(count, utterance, np.int64), "chunk": np.arange(count, dtype=np.int64)}


def _said(one: Recording) -> dict[str, str]:
    voice = one.voice
    return {
        "speaker": voice.speaker,
        "voice": voice.name,
        "language": voice.language,
        "gender": voice.gender,
        "package": voice.package,
        "prompt": one.prompt,
    }


def _names(cuts: list[tuple[Recording, Cut]]) -> dict[str, tuple[str, ...]]:
    """Return the words of each label. All but prompts and utterances are the same whatever was found."""
    return {
        "speaker": tuple(dict.fromkeys(voice.speaker for voice in VOICES)),
        "voice": tuple(voice.name for voice in VOICES),
        "language": tuple(dict.fromkeys(voice.language for voice in VOICES)),
        "gender": ("female", "male"),
        "package": tuple(package.name for package in PACKAGES),
        "prompt": tuple(sorted({one.prompt for one, _ in cuts})),
        "utterance": tuple(one.key for one, _ in cuts),
    }


def _trials(parts: Parts) -> list[speech_trials.Trials]:
    if "test" not in parts:
        return []
    return speech_trials.make(parts["test"], tuple(voice.name for voice in VOICES))


def _dataset(cuts: list[tuple[Recording, Cut]], parts: Parts, trees: dict[str, Unpacked]) -> Dataset:
    options: dict[str, Any] = {
        "rate": RATE,
        "n_fft": N_FFT,
        "hop": HOP,
        "mels": MELS,
        "fmin": FMIN,
        "fmax": FMAX,
        "floor": FLOOR,
        "level": LEVEL,
        "quiet_db": QUIET,
        "least_seconds": LEAST,
        "held_out": SHARES,
        "packages": {name: tree.version for name, tree in trees.items()},
    }
    return Dataset(
        kind="arrays",
        name="speech",
        modality="audio",
        frames=FRAMES,
        channels=MELS,
        splits={split: len(part["x"]) for split, part in parts.items()},
        label_names=_names(cuts),
        statistics=measure(parts["train"]["x"].reshape(-1, MELS)),
        options=options,
        source="Debian packages " + ", ".join(package.name for package in PACKAGES),
        licence="; ".join(f"{package.name}: {package.licence}" for package in PACKAGES),
        citation="see licences/ATTRIBUTION.txt",
    )


def _words(made: Made) -> str:
    splits = ", ".join(f"{split} {count}" for split, count in made.dataset.splits.items())
    trials = ", ".join(f"{name} {count}" for name, count in made.trials.items()) or "none"
    return (
        f"{made.recordings} recordings became clips: {splits}; {made.short} left out with less than {LEAST} s of "
        f"speech, {made.empty} published empty, {made.filled} filled up with silence; trials: {trials}"
    )
