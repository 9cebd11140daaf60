"""TIMIT: sentences read by 630 speakers of eight dialects, with their phones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffsda.data.audio.ahead import ahead, workers
from diffsda.data.audio.mel import CHUNK, FRAMES, MELS, RATE, centre, chunks, log_mel
from diffsda.data.audio.statistics import measure
from diffsda.data.audio.waves import read_wave
from diffsda.data.check import Array
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import Parts, Tell, find, note, read_lines, silent
from diffsda.data.stream import Watch, unwatched
from diffsda.errors import InputError

_DEV = """
FADG0 FAKS0 FCAL1 FCMH0 FDAC1 FDMS0 FDRW0 FEDW0 FGJD0 FJEM0 FJMG0 FJSJ0 FKMS0 FMAH0 FMML0 FNMR0 FREW0 FSEM0 MAJC0 MBDG0
MBNS0 MBWM0 MCSH0 MDLF0 MDLS0 MDVC0 MERS0 MGJF0 MGLB0 MGWT0 MJAR0 MJFC0 MJSW0 MMDB1 MMDM2 MMJR0 MMWH0 MPDF0 MRCS0 MREB0
MRJM4 MRJR0 MROA0 MRTK0 MRWS1 MTAA0 MTDT0 MTEB0 MTHC0 MWJG0
"""
_CORE = """
FDHC0 FELC0 FJLM0 FMGD0 FMLD0 FNLP0 FPAS0 FPKT0 MBPM0 MCMJ0 MDAB0 MGRT0 MJDH0 MJLN0 MJMP0 MKLT0 MLLL0 MLNT0 MNJM0 MPAM0
MTAS1 MTLS0 MWBT0 MWEW0
"""
DEV = frozenset(_DEV.split())
"""The usual 50 speakers to develop on; they are in the folder TEST."""
CORE = frozenset(_CORE.split())
"""The core test set's 24 speakers, two men and a woman a dialect."""
EXPECTED = {"train": 462 * 8, "dev": 50 * 8, "test": 24 * 8}
"""Sentences of each part, without the two that everybody reads (SA)."""
WHERE = "TIMIT (LDC93S1, LDC user agreement), with TRAIN/DR1../<speaker>/*.WAV and TEST/..."


@dataclass(frozen=True)
class Sentence:
    """One recording."""

    path: Path
    dialect: int
    """0 for DR1 and so on."""
    speaker: str
    """In capitals; the first letter is the sex."""
    name: str
    """SI1027, SX37 and the like."""


@dataclass(frozen=True)
class _Heard:
    mel: Array
    phones: list[tuple[int, int, str]]
    """First sample, the one past the last, and the phone."""
    trouble: list[tuple[Path, str, int | None]]
    """What is wrong with the file of phones: noted later, in the order of the sentences."""


def build(
    root: Path,
    *,
    problems: Problems,
    dev: Literal["join", "hold-out"] = "join",
    tell: Tell = silent,
    watch: Watch = unwatched,
) -> tuple[Dataset, Parts]:
    """Read the sentences and make the clips of all parts.

    Shapes: x (N, 68, 80) log mel magnitudes of 800 ms each, a sentence's last filled up with silence. Labels: speaker,
    sex, dialect, utterance (sentences counted through all parts), chunk (N,), phone (N, 68), -1 where none is said.
    The sentences SA1 and SA2, which all read, are left out. Training is on the folder TRAIN and the 50 development
    speakers, as the authors join them; ``hold-out`` keeps the 50 as the part val. Test is the core set's 24 speakers.
    Raises: InputError if there is no folder TRAIN; MissingPackage without soundfile where files are no SPHERE.
    """
    folds = sentences(root, problems)
    for fold, want in EXPECTED.items():
        tell(f"{fold}: {len(folds[fold])} sentences of {len({s.speaker for s in folds[fold]})} speakers")
        if len(folds[fold]) < want:
            problems.add(root, f"got {len(folds[fold])} sentences for {fold}, expected {want}: {WHERE}")
    every = [(fold, sentence) for fold in EXPECTED for sentence in folds[fold]]
    heard: list[tuple[str, Sentence, _Heard]] = []
    made = ahead(lambda pair: _hear(pair[1]), every, workers())
    for (fold, sentence), result in watch(made, len(every), "sentences"):
        try:
            heard.append((fold, sentence, result.result()))
        except InputError as error:
            note(problems, sentence.path, error)
    _note_phones([one for _, _, one in heard], root, problems)
    return _parts(heard, dev)


def _note_phones(heard: list[_Heard], root: Path, problems: Problems) -> None:
    """Note what is wrong with the files of phones; of a copy that has none, once."""
    if heard and not any(one.phones for one in heard):
        problems.add(root, "holds no files of phones (.PHN); the label phone is -1 throughout")
        return
    for trouble in (trouble for one in heard for trouble in one.trouble):
        problems.add(*trouble)


def _parts(heard: list[tuple[str, Sentence, _Heard]], dev: Literal["join", "hold-out"]) -> tuple[Dataset, Parts]:
    place = {"train": "train", "dev": "train" if dev == "join" else "val", "test": "test"}
    speakers = sorted({sentence.speaker for _, sentence, _ in heard})
    phones = sorted({phone for _, _, one in heard for _, _, phone in one.phones})
    parts: Parts = {}
    for split in dict.fromkeys(place.values()):
        rows = [(i, *entry[1:]) for i, entry in enumerate(heard) if place[entry[0]] == split]
        if rows:
            labels = [_labels(i, sentence, one, speakers, phones) for i, sentence, one in rows]
            held = {name: np.concatenate([label[name] for label in labels]) for name in labels[0]}
            parts[split] = {"x": np.concatenate([one.mel for _, _, one in rows])} | held
    if "train" not in parts:
        raise InputError(f"--root: got no sentence to train on, expected {WHERE}")
    x = parts["train"]["x"]
    options: dict[str, Any] = {"dev": dev, "chunk": CHUNK, "rate": RATE}
    dataset = Dataset(
        kind="arrays",
        name="timit",
        modality="audio",
        frames=FRAMES,
        channels=MELS,
        splits={"train": len(x)},
        label_names={
            "speaker": tuple(speakers),
            "sex": ("female", "male"),
            "dialect": tuple(f"DR{i}" for i in range(1, 9)),
        }
        | ({"phone": tuple(phones)} if phones else {}),
        statistics=measure(x.reshape(-1, MELS)),
        options=options,
        source="TIMIT (LDC93S1)",
        licence="LDC user agreement: not to be passed on",
        citation="Garofolo, Lamel, Fisher, Fiscus, Pallett, Dahlgren, Zue: TIMIT acoustic-phonetic continuous speech "
        "corpus LDC93S1. Linguistic Data Consortium, 1993",
    )
    return dataset, parts


def sentences(root: Path, problems: Problems) -> dict[str, list[Sentence]]:
    """Find the recordings of train, dev and test, in the order of their paths, whatever the case of their names.

    Of a recording that is there twice (SA1.WAV and SA1.WAV.wav) the one with the shorter name is taken.
    Raises: InputError if there is no folder TRAIN; a missing TEST is noted.
    """
    held: dict[str, list[Sentence]] = {"train": [], "dev": [], "test": []}
    for half in ("TRAIN", "TEST"):
        folders = find(root, "".join(f"[{c}{c.lower()}]" for c in half) + "/[Dd][Rr][1-8]")
        if not folders:
            if half == "TRAIN":
                raise InputError(f"--root: got {root} without a folder {half}, expected {WHERE}")
            problems.add(root, f"holds no folder {half}, expected {WHERE}")
            continue
        for one in _recordings(folders[0].parent):
            if half == "TRAIN":
                held["train"].append(one)
            elif one.speaker in DEV:
                held["dev"].append(one)
            elif one.speaker in CORE:
                held["test"].append(one)
    return held


def _recordings(folder: Path) -> list[Sentence]:
    found: dict[tuple[int, str, str], Path] = {}
    for path in sorted(folder.glob("[Dd][Rr][1-8]/*/*.[Ww][Aa][Vv]"), key=lambda path: (len(path.name), path)):
        name = path.name.split(".")[0].upper()
        if not name.startswith("SA"):
            found.setdefault((int(path.parts[-3][2]) - 1, path.parts[-2].upper(), name), path)
    return [Sentence(path, *key) for key, path in sorted(found.items())]


def _hear(sentence: Sentence) -> _Heard:
    samples, rate = read_wave(sentence.path)
    if rate != RATE:
        raise InputError(f"{sentence.path}: got {rate} Hz, expected {RATE}")
    return _Heard(log_mel(chunks(samples)), *_phones(sentence.path))


def _phones(path: Path) -> tuple[list[tuple[int, int, str]], list[tuple[Path, str, int | None]]]:
    """Read the phones beside a recording, and what is wrong with them."""
    stem = path.name.split(".")[0]
    beside = [path.with_name(f"{stem}.{end}") for end in ("PHN", "phn")]
    there = [file for file in beside if file.is_file()]
    if not there:
        return [], [(beside[0], "no such file; the phones of this sentence are not known", None)]
    out: list[tuple[int, int, str]] = []
    trouble: list[tuple[Path, str, int | None]] = []
    for number, line in enumerate(read_lines(there[0]), 1):
        fields = line.split()
        if len(fields) == 3 and fields[0].isdecimal() and fields[1].isdecimal():
            out.append((int(fields[0]), int(fields[1]), fields[2]))
        elif fields:
            trouble.append((there[0], f"got {line[:40]!r}, expected begin, end and phone; left out", number))
    return out, trouble


def _labels(
    utterance: int, sentence: Sentence, one: _Heard, speakers: list[str], phones: list[str]
) -> dict[str, Array]:
    count = len(one.mel)
    constant = {
        "speaker": speakers.index(sentence.speaker),
        "sex": {"F": 0, "M": 1}.get(sentence.speaker[:1], -1),
        "dialect": sentence.dialect,
        "utterance": utterance,
    }
    said = np.full(count * FRAMES, -1, np.int64)
    at = (np.arange(count)[:, None] * CHUNK + centre(np.arange(FRAMES))).reshape(-1)
    for begin, end, phone in one.phones:
        said[(at >= begin) & (at < end)] = phones.index(phone)
    return {name: np.full(count, value, np.int64) for name, value in constant.items()} | {
        "chunk": np.arange(count, dtype=np.int64),
        "phone": said.reshape(count, FRAMES),
    }
