"""Turn the clips of a download into a prepared folder: video files, an index, what went wrong. Stop and go on."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.data.prepared import NAME, SPLITS, Dataset
from diffsda.data.problems import Problems
from diffsda.data.stream import Watch
from diffsda.data.video.entry import Entry, write_entries
from diffsda.data.video.face_crop import Crop
from diffsda.data.video.found import Download, Found
from diffsda.data.video.frames_folder import Ways
from diffsda.data.video.journal import Made, line_of, read_journal
from diffsda.data.video.libav import libav
from diffsda.data.video.pictures import film, in_place
from diffsda.data.video.probe import digest, probe
from diffsda.data.video.workers import spread
from diffsda.errors import InputError

CLIPS = "clips"
JOURNAL = "journal.jsonl"
PAIRS = "test_pairs.jsonl"
ABSENT = "missing.txt"
TURNED = "to be shown turned, which loaders do not do"
OTHER_COLOURS = "not of the colours (BT.601) that DALI's loader takes them for"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A clip to be made into a file."""

    clip: Found
    target: Path
    ways: Ways
    crop: Crop | None = None
    known: str | None = None
    """Fingerprint of what it was made from and how, the last time."""


def gather(
    download: Download,
    out: Path,
    ways: Ways,
    *,
    crops: Callable[[Found], Crop | None] = lambda clip: None,
    jobs: int = 0,
    overwrite: bool = False,
    problems: Problems,
    tell: Callable[[str], None],
    watch: Watch,
) -> dict[str, Any]:
    """Make the prepared folder and return a summary of it, fit for JSON.

    What a stopped run finished is in its journal, with a fingerprint of the source files and of how they were used:
    only clips that are new, changed or lost are made.
    jobs: processes; 0 does all in this one.
    Raises: InputError if no training clip is usable or ``out`` holds a set prepared otherwise; SaveError;
    MissingPackage without PyAV.
    """
    libav()  # Before hours of work: is it installed?
    about = download.about
    options = {**download.options, "frames": ways.fewest, "size": ways.size, "codec": ways.codec}
    _check_place(out, options, overwrite)
    results, fresh = _work(download, out, ways, crops, jobs, problems, watch)
    problems.write(out)
    entries = _index(download, results, out)
    if not entries.get("train"):
        raise InputError(
            f"{out}: none of {len(results)} clips can be used for training, expected one at least; what is wrong with "
            "each is above"
        )
    pairs = _write_pairs(download, results, out)
    _write(out / ABSENT, [f"{name}\n" for name in download.absent])
    _write(out / JOURNAL, map(line_of, results))
    Dataset(
        kind="video",
        name=about.name,
        modality="video",
        frames=ways.fewest,
        channels=3,
        size=about.size if ways.size is None else ways.size,
        splits={split: len(held) for split, held in entries.items()},
        label_names=download.label_names,
        options=options,
        source=f"{about.title}, {about.homepage}",
        licence=about.licence,
        citation=about.citation,
    ).write(out)
    remarks = [*download.remarks, *_oddities(results), *_gaps(download)]
    for words in remarks:
        tell(words)
    return {
        "out": str(out),
        "name": about.name,
        "clips": {split: len(held) for split, held in entries.items()},
        "found": _counts(download),
        "whole": about.whole,
        "files": {how: sum(made.how == how for made in results) for how in ("kept", "encoded", "in place")},
        "missing": len(download.absent),
        "left_out": sum(made.entry is None for made in results),
        "made_now": fresh,
        "pairs": pairs,
        "problems": len(problems),
        "remarks": remarks,
        "options": options,
    }


def _work(
    download: Download,
    out: Path,
    ways: Ways,
    crops: Callable[[Found], Crop | None],
    jobs: int,
    problems: Problems,
    watch: Watch,
) -> tuple[list[Made], int]:
    """Make the files that are not there yet; return what came of every clip, and how many were made."""
    journal = read_journal(out / JOURNAL)
    # Whole lines only: the last of a stopped run may be half a one, which the next would be written into.
    _write(out / JOURNAL, map(line_of, journal.values()))
    todo = [
        Job(
            clip=clip,
            target=out / CLIPS / f"{clip.key}.mp4",
            ways=ways,
            crop=crops(clip),
            known=_still_there(journal.get(clip.key), out),
        )
        for clip in download.clips
    ]
    fresh = 0
    with (out / JOURNAL).open("a", encoding="utf-8") as lines:
        for number, made in watch(
            spread(make, [(job,) for job in todo], jobs), len(todo), f"{download.about.title} clips"
        ):
            key = todo[number].clip.key
            if isinstance(made, Exception):
                made = _crashed(todo[number])
            if made.how != "known":
                fresh += 1
                journal[key] = made
                lines.write(line_of(made))
                lines.flush()
            for path, reason in journal[key].problems:
                problems.add(path, reason)
    return [journal[clip.key] for clip in download.clips], fresh


def make(job: Job) -> Made:
    """Make the file of one clip; whatever is wrong with it is in what is returned.

    Raises: SaveError where nothing can be written, MissingPackage.
    """
    clip = job.clip
    notes: list[tuple[str, str]] = []
    fingerprint = ""

    def note(path: Path, words: str) -> None:
        notes.append((str(path), words))

    try:
        fingerprint = _fingerprint(job)
        if fingerprint == job.known:
            return Made(key=clip.key, fingerprint=fingerprint, how="known")
        how, entry, odd = _make(job, note)
    except InputError as error:
        note(clip.source, str(error).removeprefix(f"{clip.source}: "))
        return Made(key=clip.key, fingerprint=fingerprint, problems=tuple(notes))
    return Made(key=clip.key, fingerprint=fingerprint, how=how, entry=entry, odd=odd, problems=tuple(notes))


def _crashed(job: Job) -> Made:
    problem = str(job.clip.source), "ends the process that decodes it; the clip is left out"
    return Made(key=job.clip.key, fingerprint="", problems=(problem,))


def _make(job: Job, note: Callable[[Path, str], None]) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Return how a clip's file came about, its line of the index, and what is odd about it."""
    clip, ways = job.clip, job.ways
    change = None if job.crop is None else job.crop.change(lambda words: note(clip.source, words))
    if in_place(clip, ways, change):
        return "in place", *_looked_over(clip.source, ways)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    made = film(clip, job.target, ways, note, change)
    if made.frames < ways.fewest:
        job.target.unlink()
        raise InputError(f"got {made.frames} frames, expected at least {ways.fewest}; the clip is left out")
    entry = {
        "path": f"{CLIPS}/{clip.key}.mp4",
        "frames": made.frames,
        "fps": float(made.rate),
        "width": made.width,
        "height": made.height,
        "codec": made.codec,
        "sha256": digest(job.target),
    }
    return ("kept" if made.kept else "encoded"), entry, ()


def _looked_over(path: Path, ways: Ways) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the index's line for a video that stays where it is, and what loaders will not see of it."""
    held = probe(path)
    if held.frames < ways.fewest:
        raise InputError(f"got {held.frames} frames, expected at least {ways.fewest}; the clip is left out")
    odd = [TURNED] if held.turned else []
    entry = {
        "path": str(path.resolve()),
        **{f.name: getattr(held, f.name) for f in fields(Entry) if hasattr(held, f.name)},
    }
    return entry, (*odd, *([OTHER_COLOURS] if not held.bt601 else []))


def _fingerprint(job: Job) -> str:
    """Return a name for the source files, as far as sizes and times tell, and for what is made of them."""
    source = job.clip.source
    try:
        if source.is_dir():
            with os.scandir(source) as held:
                files = sorted((e.name, *_state(e.stat())) for e in held)
        else:
            files = [(source.name, *_state(source.stat()))]
    except FileNotFoundError:
        raise InputError(f"{source}: is missing; the clip is left out") from None
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); the clip is left out") from None
    how = [str(source), job.clip.order, asdict(job.ways), None if job.crop is None else asdict(job.crop)]
    return hashlib.sha256(json.dumps([how, files], default=str).encode()).hexdigest()[:32]


def _state(of: os.stat_result) -> tuple[int, int]:
    return of.st_size, of.st_mtime_ns


def _check_place(out: Path, options: dict[str, Any], overwrite: bool) -> None:
    """Make the folder, or see that what it holds was prepared the same way; until all is done it is unfinished."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: {out} is a file, expected a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: {out} cannot be made ({error.strerror}); choose another folder") from None
    about = out / NAME
    if about.exists() and not overwrite:
        held = Dataset.read(out)
        if held.kind != "video" or held.options != options:
            differs = sorted(k for k in {*held.options, *options} if held.options.get(k) != options.get(k))
            raise InputError(
                f"--out: {out} holds a set prepared with other options ({', '.join(differs) or 'of another kind'}); "
                "choose another folder, or pass --overwrite"
            )
    about.unlink(missing_ok=True)


def _still_there(made: Made | None, out: Path) -> str | None:
    """Return the fingerprint of a clip that was made and whose file is there, or that could not be made."""
    if made is None:
        return None
    if made.entry is None or made.how == "in place":
        return made.fingerprint
    path = out / made.entry["path"]
    return made.fingerprint if path.is_file() and path.stat().st_size else None


def _index(download: Download, results: Sequence[Made], out: Path) -> dict[str, list[str]]:
    """Write the index of every split; return the keys of its rows."""
    rows: dict[str, list[Entry]] = {}
    keys: dict[str, list[str]] = {}
    for clip, made in zip(download.clips, results, strict=True):
        if made.entry is not None:
            entry = Entry(**{**made.entry, "path": out / made.entry["path"]}, labels=clip.labels)
            rows.setdefault(clip.split, []).append(entry)
            keys.setdefault(clip.split, []).append(clip.key)
    for split in SPLITS:
        if split in rows:
            write_entries(out / f"{split}.jsonl", rows[split])
        else:
            (out / f"{split}.jsonl").unlink(missing_ok=True)
    return keys


def _write_pairs(download: Download, results: Sequence[Made], out: Path) -> int:
    """Write which rows of the test index are paired; pairs of clips that could not be made are left out."""
    usable = [c.key for c, made in zip(download.clips, results, strict=True) if c.split == "test" and made.entry]
    row = {key: number for number, key in enumerate(usable)}
    kept = [pair for pair in download.pairs if pair.first in row and pair.second in row]
    _write(out / PAIRS, [json.dumps({"first": row[p.first], "second": row[p.second]}) + "\n" for p in kept])
    return len(kept)


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write lines; without any, an older file goes."""
    text = "".join(lines)
    if text:
        atomic_write(path, lambda file: file.write(text.encode()))
    else:
        path.unlink(missing_ok=True)


def _counts(download: Download) -> dict[str, int]:
    """Count what a download has of what the whole set is known by."""
    return {
        what: len(download.clips) if what == "clips" else len({clip.labels.get(what) for clip in download.clips})
        for what in download.about.whole
    }


def _oddities(results: Sequence[Made]) -> Iterator[str]:
    for words, count in Counter(words for made in results for words in made.odd).items():
        yield f"{count} videos used where they are are {words}; `diffsda prepare video --recode` writes them anew"


def _gaps(download: Download) -> Iterator[str]:
    found, about = _counts(download), download.about
    if download.absent:
        yield f"{len(download.absent)} files that the set's own list names are not there, see {ABSENT}"
    named = {what: what if what == "clips" else f"values of {what}" for what in about.whole}
    less = [f"{found[what]} of {count} {named[what]}" for what, count in about.whole.items() if found[what] < count]
    if less:
        yield f"found {', '.join(less)} of the whole set; the rest is at {about.homepage} ({about.licence})"
