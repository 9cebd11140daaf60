"""LibriSpeech: read books, 360 hours to train on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsda.atomic import atomic_write
from diffsda.data.audio.ahead import ahead, workers
from diffsda.data.audio.mel import CHUNK, FRAMES, MELS, RATE, chunks, log_mel
from diffsda.data.audio.statistics import measure
from diffsda.data.audio.waves import read_wave
from diffsda.data.check import Array
from diffsda.data.frames import FrameWriter
from diffsda.data.frames_format import CLIPS
from diffsda.data.frames_format import FRAMES as STORED
from diffsda.data.prepared import NAME, Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import Tell, begin, find, note, read_lines, silent
from diffsda.data.stream import Watch, unwatched
from diffsda.errors import InputError

FOLDERS = {"train": "train-clean-360", "val": "dev-clean", "test": "test-clean"}
EXPECTED = {
    "train-clean-100": (28_539, 251),
    "train-clean-360": (104_014, 921),
    "dev-clean": (2_703, 40),
    "test-clean": (2_620, 40),
}
"""Utterances and speakers of the folders as published."""
WHERE = "LibriSpeech (OpenSLR 12, CC BY 4.0), unpacked: LibriSpeech/train-clean-360, dev-clean, test-clean"
BEGUN = "begun"
"""File that holds the name of the training folder while a prepared folder is unfinished; empty = to be cleared."""


@dataclass(frozen=True)
class Utterance:
    """One recording: its key is what its file is called."""

    key: str
    path: Path
    speaker: int


def prepare(
    root: Path,
    out: Path,
    *,
    problems: Problems,
    train: str = FOLDERS["train"],
    tell: Tell = silent,
    watch: Watch = unwatched,
    threads: int | None = None,
) -> Dataset:
    """Turn the recordings into stored frames, one clip a chunk of 800 ms; go on where an earlier run was stopped.

    A set that is finished is made anew.

    Shapes: frames (80,) float16, log mel magnitudes; a clip has 68, the last of an utterance filled up with silence.
    Labels: speaker, sex (where SPEAKERS.TXT is there), utterance (counted through all parts), chunk. Mean and deviation
    of each band are those of the stored training frames.
    Differs from the authors' code: they measure mean and deviation on a quarter of the training part drawn anew each
    time, and take 0 and 1 without a word where the file with them is not there.
    Raises: InputError if the training folder is missing or empty, or ``out`` was begun with another one;
    MissingPackage without soundfile; SaveError on a full disk, after which the same command goes on.
    """
    if threads is not None and threads < 1:
        raise InputError(f"--threads: got {threads}, expected at least 1")
    folders = _folders(root, FOLDERS | {"train": train}, problems)
    _begin(out, train)
    held = {split: utterances(folder, problems) for split, folder in folders.items()}
    for split, ours in held.items():
        _compare(folders[split], ours, problems, tell)
    speakers = sorted({one.speaker for ours in held.values() for one in ours})
    sexes = _sexes(folders["train"].parent, tell)
    labels = {number: {"speaker": place} | sexes.get(number, {}) for place, number in enumerate(speakers)}
    counts, before = {}, 0
    for split, ours in held.items():
        with FrameWriter(out / split, (MELS,), "float16") as writer:
            _write(writer, ours, labels, before, problems, watch, threads or workers(), split)
            counts[split] = len(writer)
        before += len(ours)
    if not counts["train"]:
        raise InputError(f"--root: got no recording to train on, expected {WHERE}")
    problems.write(out)
    dataset = Dataset(
        kind="frames",
        name="librispeech",
        modality="audio",
        frames=FRAMES,
        channels=MELS,
        splits={split: count for split, count in counts.items() if count},
        label_names={"speaker": tuple(map(str, speakers))} | ({"sex": ("female", "male")} if sexes else {}),
        statistics=measure(np.load(out / "train" / STORED, mmap_mode="r"), watch),
        dtype="float16",
        options={"train": train, "chunk": CHUNK, "rate": RATE},
        source="LibriSpeech (OpenSLR 12)",
        licence="CC BY 4.0",
        citation="Panayotov, Chen, Povey, Khudanpur: LibriSpeech: an ASR corpus based on public domain audio books. "
        "ICASSP 2015",
    )
    dataset.write(out)
    (out / BEGUN).unlink()
    return dataset


def utterances(folder: Path, problems: Problems) -> list[Utterance]:
    """Return the recordings of a part in the order of their names; a line of a transcript without one is noted."""
    held = [
        Utterance(path.stem, path, int(path.parts[-3]))
        for path in sorted(folder.glob("*/*/*.flac"))
        if path.parts[-3].isdecimal()
    ]
    said: dict[str, tuple[Path, int]] = {}
    for path in sorted(folder.glob("*/*/*.trans.txt")):
        try:
            lines = read_lines(path)
        except InputError as error:
            note(problems, path, error)
            continue
        said |= {line.split()[0]: (path, number) for number, line in enumerate(lines, 1) if line.strip()}
    there = {one.key for one in held}
    for key, (path, number) in said.items():
        if key not in there:
            problems.add(path, f"got no recording {key}.flac for this line", number)
    told = {path.parent for path, _ in said.values()}
    for one in held:
        if one.key not in said:
            # A chapter without any is one problem, not one a recording.
            if one.path.parent in told:
                problems.add(one.path, "has no line in the transcripts of its chapter")
            else:
                problems.add(one.path.parent, "holds no transcripts")
    return held


def _write(
    writer: FrameWriter,
    ours: list[Utterance],
    labels: dict[int, dict[str, int]],
    before: int,
    problems: Problems,
    watch: Watch,
    threads: int,
    split: str,
) -> None:
    """Append what is not there yet. A chunk's key is the utterance's and its number."""
    following = [*(f"{one.key}#0" for one in ours[1:]), ""]
    # Where the next utterance has begun this one is whole; the last one of a stopped run is made again.
    waiting = [
        (number, one)
        for number, (one, after) in enumerate(zip(ours, following, strict=True), before)
        if f"{one.key}#0" not in writer or after not in writer
    ]
    made = ahead(lambda pair: _mels(pair[1].path), waiting, threads)
    for (number, one), result in watch(made, len(waiting), f"recordings of {split}"):
        try:
            mels = result.result()
        except InputError as error:
            note(problems, one.path, error)
            continue
        for chunk, mel in enumerate(mels):
            writer.append(f"{one.key}#{chunk}", mel, labels[one.speaker] | {"utterance": number, "chunk": chunk})


def _mels(path: Path) -> Array:
    samples, rate = read_wave(path)
    if rate != RATE:
        raise InputError(f"{path}: got {rate} Hz, expected {RATE}")
    return log_mel(chunks(samples))


def _folders(root: Path, names: dict[str, str], problems: Problems) -> dict[str, Path]:
    """Return the folders of the parts; val and test may be missing, which is noted."""
    out = {}
    for split, name in names.items():
        found = [folder for folder in find(root, name) if folder.is_dir()]
        if found:
            out[split] = found[0]
        elif split == "train":
            raise InputError(f"--root: got {root} without a folder {name}, expected {WHERE}")
        else:
            problems.add(root, f"holds no folder {name}, expected {WHERE}")
    return out


def _begin(out: Path, train: str) -> None:
    """Note what a folder is being filled with, so that a later run does not go on with something else."""
    path = out / BEGUN
    if (out / NAME).exists():
        # A finished set that may be replaced: nothing of it is gone on with, even if this is stopped half way.
        _write_begun(path, "")
    begin(out)
    if not path.exists() or not path.read_bytes():
        for split, name in itertools.product(FOLDERS, (STORED, CLIPS)):
            (out / split / name).unlink(missing_ok=True)
        _write_begun(path, train)
    begun = path.read_text(encoding="utf-8", errors="replace")
    if begun != train:
        raise InputError(f"{out}: was begun with {begun[:60]!r}, got --train {train}; choose another --out")


def _write_begun(path: Path, train: str) -> None:
    atomic_write(path, lambda file: file.write(train.encode()))


def _compare(folder: Path, ours: list[Utterance], problems: Problems, tell: Tell) -> None:
    speakers = len({one.speaker for one in ours})
    tell(f"{folder.name}: {len(ours)} recordings of {speakers} speakers")
    expected = EXPECTED.get(folder.name)
    if expected and (len(ours), speakers) != expected:
        problems.add(
            folder,
            f"got {len(ours)} recordings of {speakers} speakers, expected {expected[0]} of {expected[1]}: {WHERE}",
        )


def _sexes(folder: Path, tell: Tell) -> dict[int, dict[str, int]]:
    """Read speaker -> sex from SPEAKERS.TXT; nothing where it is not there."""
    path = folder / "SPEAKERS.TXT"
    if not path.is_file():
        tell(f"{path}: no such file; the speakers' sex is not known")
        return {}
    out = {}
    for line in read_lines(path):
        fields = [field.strip() for field in line.split("|")]
        if len(fields) > 2 and fields[0].isdecimal() and fields[1] in ("F", "M"):
            out[int(fields[0])] = {"sex": "FM".index(fields[1])}
    return out
