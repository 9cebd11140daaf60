"""A set of one's own recordings: log mel spectra of sound files, split, written as a prepared folder."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffsda.data.audio.mel import FRAMES as MEL_FRAMES
from diffsda.data.audio.mel import HOP, MELS, RATE_OUT, log_mel
from diffsda.data.audio.waves import read_wave, soundfile
from diffsda.data.check import Array
from diffsda.data.frames import FrameWriter
from diffsda.data.frames_begun import begin, clear, end
from diffsda.data.frames_format import CLIPS, FRAMES, read_index
from diffsda.data.frames_moments import Moments
from diffsda.data.own import splitting, windows
from diffsda.data.own.infer import Found
from diffsda.data.own.rows import Series
from diffsda.data.own.settings import Settings
from diffsda.data.prepared import SPLITS, Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import Parts, Tell, leave
from diffsda.data.stream import Watch
from diffsda.data.video.layout import LABEL
from diffsda.errors import InputError

IN_MEMORY = 2**28
"""Bytes of features up to which a set becomes arrays, whole recordings of any length; more stays on disk."""


@dataclass(frozen=True)
class Heard:
    """What came of a sound file: its digest, log mel spectra (T, 80) and rate in Hz, or why it cannot be used."""

    digest: str
    mel: Array | None = None
    rate: int = 0
    reason: str = ""


def build(found: Found, out: Path, ask: Settings, problems: Problems, tell: Tell, watch: Watch) -> Dataset:
    """Turn sound files into a prepared folder of log mel spectra; return what its dataset.json says.

    Files in folders called train, val and test keep their split; else folders (of speakers, say) are dealt out whole
    where there are several, files where not. A stopped run is gone on with. What is small becomes arrays of whole
    recordings, or of windows where ``frames`` says so or recordings are long; what is large stays frames on disk.
    Raises: InputError if nothing can be used; SaveError; MissingPackage without soundfile.
    """
    sides, groups = _sides(found, ask, problems)
    seconds = _seconds(found)
    large = 4 * MELS * seconds * RATE_OUT / HOP > IN_MEMORY
    if begin(out, {"sounds": sides, "frames": ask.frames}, overwrite=ask.overwrite):
        tell(f"going on with {out}")
    # Of a large set windows of one length are read: what is shorter has no place in it.
    least = ask.frames or (MEL_FRAMES if large else 2)
    names = tuple(dict.fromkeys(groups.values()))
    number = {name: place for place, name in enumerate(names)}
    codes = {name: {LABEL: number[group]} if len(names) > 1 else {} for name, group in groups.items()}
    with ExitStack() as stack:
        writers = {s: stack.enter_context(FrameWriter(out / s, (MELS,), "float32")) for s in _used(sides)}
        _fill(_Filling(found, sides, codes, writers, least), ask.jobs, problems, tell, watch)
        if "train" not in writers or not writers["train"].total:
            raise InputError(f"{ask.name}: no recording is left for training; see what was told above")
    held = Dataset(
        kind="arrays",
        name=ask.name,
        modality="audio",
        frames=ask.frames,
        channels=MELS,
        splits={"train": 1},
        label_names={LABEL: names} if len(names) > 1 else {},
        options={**ask.options(), "rate": RATE_OUT, "hop": HOP, "mels": MELS},
        source=f"recordings in {ask.source.name}",
    )
    tell(f"{seconds / 60:.1f} minutes in {len(found.paths)} files, a frame every {1000 * HOP / RATE_OUT:.1f} ms")
    held = (_as_frames if large else _as_arrays)(held, found, _used(sides), out, ask, problems, tell)
    end(out)
    return held


def listen(path: Path) -> Heard:
    """Read a sound file and return its features, or why there are none."""
    try:
        digest = _digest(path)
        samples, rate = read_wave(path)
        if not samples.any():
            return Heard(digest, reason="is silent from end to end")
        return Heard(digest, log_mel(samples, rate), rate)
    except InputError as error:
        return Heard("", reason=str(error).removeprefix(f"{path}: "))
    except OSError as error:
        return Heard("", reason=f"cannot be read ({error.strerror or error})")


def _seconds(found: Found) -> float:
    """Return how long all recordings are, by their heads; a file without a known one counts by its bytes."""
    sound, total = soundfile(), 0.0
    for path in found.paths:
        try:
            about = sound.info(path)
            total += about.frames / about.samplerate
        except (RuntimeError, OSError, ValueError, ZeroDivisionError):
            total += path.stat().st_size / 32_000
    return total


def _sides(found: Found, ask: Settings, problems: Problems) -> tuple[dict[str, str], dict[str, str]]:
    """Return the split of every file, and the folder it lies in below that of its split."""
    paths = [path.relative_to(found.root) for path in found.paths]
    sides = splitting.sides(paths, ask, lambda path: problems.add(found.root / path, splitting.OUTSIDE))
    below = splitting.has_splits(paths)
    groups = {path.as_posix(): splitting.group_of(path, below=below) for path in sides}
    return {path.as_posix(): side for path, side in sides.items()}, groups


def _used(sides: dict[str, str]) -> list[str]:
    return [split for split in SPLITS if split in set(sides.values())]


@dataclass(frozen=True)
class _Filling:
    found: Found
    sides: dict[str, str]
    labels: dict[str, dict[str, int]]
    writers: dict[str, FrameWriter]
    least: int


def _fill(filling: _Filling, jobs: int, problems: Problems, tell: Tell, watch: Watch) -> None:
    """Write the features of all files that are not there yet, in the order of their names."""
    root, sides, writers = filling.found.root, filling.sides, filling.writers
    todo = [name for name in sides if name not in writers[sides[name]]]
    seen = {_digest(root / name): name for name in set(sides) - set(todo)}
    rates: Counter[int] = Counter()
    heard = _in_order(listen, [root / name for name in todo], jobs)
    for name, result in zip(todo, watch(heard, len(todo), "recordings")):
        reason = result.reason
        if result.mel is not None and len(result.mel) < filling.least:
            reason = f"gives {len(result.mel)} frames, expected at least {filling.least}; left out"
        if not reason and result.digest in seen:
            reason = f"holds the same bytes as {seen[result.digest]}; left out"
        if reason or result.mel is None:
            problems.add(root / name, reason)
            continue
        seen[result.digest] = name
        rates[result.rate] += 1
        writers[sides[name]].append(name, result.mel, filling.labels[name])
    if len(rates) > 1:
        counts = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(rates.items()))
        tell(f"recordings have several rates ({counts}): all become {RATE_OUT} Hz, but what was low has no high bands")


def _in_order(work: Callable[[Path], Heard], paths: Sequence[Path], jobs: int) -> Iterator[Heard]:
    """Work on files in threads, a few ahead, and yield what came of them in their order."""
    with ThreadPoolExecutor(max(jobs, 1)) as pool:
        waiting: deque[Future[Heard]] = deque()
        for path in paths:
            waiting.append(pool.submit(work, path))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_arrays(
    held: Dataset, found: Found, splits: Sequence[str], out: Path, ask: Settings, problems: Problems, tell: Tell
) -> Dataset:
    series = {split: _series(found, out / split, held) for split in splits}
    everything = [one for split in splits for one in series[split]]
    longest = max(map(len, everything))
    frames = ask.frames
    if frames is None and longest > windows.WHOLE_UP_TO:
        frames = MEL_FRAMES
        tell(f"one recording has {longest} frames: all are cut into windows of {frames} (--frames says otherwise)")
    pieces = {split: windows.cut(held_, frames, problems, tell) for split, held_ in series.items()}
    if not pieces["train"]:
        raise InputError(f"{ask.name}: no clip is left for training; see what was told above")
    most = frames or longest
    parts: Parts = {}
    for split, own in pieces.items():
        if own:
            parts[split] = windows.to_arrays(own, {}, most)
            for name, words in held.label_names.items():
                code = {word: number for number, word in enumerate(words)}
                parts[split][name] = np.array([code[piece.labels[name]] for piece in own], np.int64)
    held = replace(held, frames=frames, statistics=windows.moments(parts["train"]).statistics())
    held = leave(out, held, parts, problems)
    clear(out)
    return held


def _series(found: Found, folder: Path, held: Dataset) -> list[Series]:
    index, _ = read_index(folder / CLIPS)
    frames = np.load(folder / FRAMES, mmap_mode="r", allow_pickle=False)
    words = held.label_names.get(LABEL)
    series = []
    for key, start, count, labels in zip(index.keys, index.starts, index.frames, index.labels):
        said = {LABEL: words[labels[LABEL]]} if words else {}
        series.append(Series(key, np.asarray(frames[start : start + count]), said, (str(found.root / key), 1)))
    return series


def _as_frames(
    held: Dataset, found: Found, splits: Sequence[str], out: Path, ask: Settings, problems: Problems, tell: Tell
) -> Dataset:
    """Leave the frames where they are; statistics are measured over those of the training part."""
    moments = Moments(MELS)
    frames = np.load(out / "train" / FRAMES, mmap_mode="r", allow_pickle=False)
    for at in range(0, len(frames), 1 << 16):
        moments.add(np.asarray(frames[at : at + (1 << 16)]))
    counts = {split: len(read_index(out / split / CLIPS)[0].keys) for split in splits}
    tell("the features stay on disk: training reads windows of them")
    problems.write(out)
    held = replace(held, kind="frames", frames=ask.frames or MEL_FRAMES, splits=counts, statistics=moments.statistics())
    held.write(out)
    return held
