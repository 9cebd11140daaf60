"""Sprites as prepared folders: every clip rendered and written once, as a video and, for quick trials, as arrays."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data import arrays
from diffsda.data.check import Array
from diffsda.data.debian import Unpacked
from diffsda.data.prepared import NAME, Dataset
from diffsda.data.sprites.contact import NAME as CONTACT
from diffsda.data.sprites.contact import write_contact_sheet
from diffsda.data.sprites.design import BODY, FRAMES, Design, Sprite
from diffsda.data.sprites.film import RATE, write_exact
from diffsda.data.sprites.licence import NAME as LICENCE
from diffsda.data.sprites.licence import read_terms, write_licence
from diffsda.data.sprites.render import SpriteRenderer
from diffsda.data.sprites.sheets import AVATARS, ORDER, find_mod, read_sheet
from diffsda.data.stream import Watch, unwatched
from diffsda.data.video.entry import Entry, write_entries
from diffsda.data.video.journal import Made, line_of, read_journal
from diffsda.data.video.libav import libav
from diffsda.data.video.probe import digest
from diffsda.data.video.pyav import cores
from diffsda.data.video.workers import in_parallel
from diffsda.errors import InputError

PACKAGE = "flare-game"
JOURNAL = "work.jsonl"
"""What is made already; with it, the same command goes on."""
CLIPS = "clips"
MOST = 2 << 30
"""Bytes of an array: what training from memory is meant for."""
CITATION = (
    "Flare, a role-playing game by Clint Bellanger and others; the idea of layered sprites for static and dynamic "
    "factors is that of Li, Mandt: Disentangled sequential autoencoder, ICML 2018"
)


@dataclass(frozen=True)
class _Job:
    """A clip to be made in a process of its own."""

    tree: Path
    sprite: Sprite
    size: int
    path: Path | None
    """Of its video; None gives the clip back instead."""

    def __str__(self) -> str:
        return self.sprite.key


def prepare_sprites(
    package: Unpacked,
    out: Path,
    design: Design,
    size: int,
    *,
    with_arrays: bool = False,
    jobs: int | None = None,
    tell: Callable[[str], None] = lambda words: None,
    watch: Watch = unwatched,
) -> Dataset:
    """Render all clips of a design and leave a prepared folder of kind ``video``.

    with_arrays: leave a folder of kind ``arrays`` beside it too, OUT-arrays, with the same clips to the bit.
    jobs: processes; None takes all cores. Killed, the same call goes on; what is there already is not made again.
    Raises: InputError if the tree lacks a part of the design, ``out`` holds something else, or the arrays would be too
    large; SaveError if the disk is full; MissingPackage without PyAV.
    """
    libav()
    _renderer.cache_clear()
    splits = design.splits()
    if with_arrays:
        _check_arrays(max(map(len, splits.values())), size)
    about = _about(package, design, size, {split: len(part) for split, part in splits.items()})
    _claim(out, about)
    jobs = cores() if jobs is None else jobs
    made = _videos(package.tree, out, splits, about, jobs, watch)
    for split, part in splits.items():
        write_entries(out / f"{split}.jsonl", [_entry(out, design, sprite, size, made[sprite.key]) for sprite in part])
    renderer = SpriteRenderer(package.tree)
    people = list(dict.fromkeys(sprite.identity for sprite in splits["test"]))
    for folder in (out, *([arrays_folder(out)] if with_arrays else [])):
        if not (folder / LICENCE).is_file() and folder != out:
            _refuse_others(folder)
        folder.mkdir(exist_ok=True)
        write_licence(folder, package, read_terms(package.tree))
        write_contact_sheet(folder / CONTACT, renderer, design, people, size)
    if with_arrays:
        _write_arrays(package.tree, arrays_folder(out), splits, design, about, jobs, tell, watch)
    about.write(out)
    return about


def arrays_folder(out: Path) -> Path:
    """Return where the arrays of a prepared folder go."""
    return out.with_name(f"{out.name}-arrays")


def _about(package: Unpacked, design: Design, size: int, counts: dict[str, int]) -> Dataset:
    terms = read_terms(package.tree)
    return Dataset(
        kind="video",
        name="sprites",
        modality="video",
        frames=FRAMES,
        channels=3,
        size=size,
        splits=counts,
        label_names=design.label_names,
        options={
            "design": design.name,
            "sheets": fingerprint(package.tree, design),
            "package": package.package,
            "version": package.version,
            "sha256": package.sha256,
        },
        source=f"rendered from {package.package} {package.version or ''}".strip(),
        licence=f"{terms.licence}, copyright {terms.holders}",
        citation=CITATION,
    )


def fingerprint(tree: Path, design: Design) -> str:
    """Return 16 hex digits that change with any file the clips of a design are rendered from.

    Raises: InputError if one is missing or broken.
    """
    mod, seen = find_mod(tree), hashlib.sha256()
    seen.update((mod / ORDER).read_bytes())
    for sex, heads in design.heads.items():
        for part in (*BODY, *heads, *design.chests, *design.legs):
            sheet = read_sheet(mod, sex, part)
            sheet.pixels()
            for action in design.actions:
                sheet.action(action)
            for path in (mod / AVATARS / sex / f"{part}.txt", *sheet.images.values()):
                seen.update(path.read_bytes())
    return seen.hexdigest()[:16]


def _claim(out: Path, about: Dataset) -> None:
    """Make the folder, unless it holds something else; unfinished from now on.

    Raises: InputError if it does.
    """
    if (out / NAME).is_file():
        held = Dataset.read(out)
        if held.name != about.name or held.kind != about.kind or _how(held) != _how(about):
            raise InputError(f"{out}: holds {held.name}, {_how(held)}; expected {_how(about)}, or another --out")
        (out / NAME).unlink()
    elif (out / JOURNAL).is_file():
        other = {made.fingerprint for made in read_journal(out / JOURNAL).values()} - {_how(about)}
        if other:
            raise InputError(f"{out}: was begun with {min(other)}; expected {_how(about)}, or another --out")
    else:
        _refuse_others(out)
    (out / CLIPS).mkdir(parents=True, exist_ok=True)
    for part in (out / CLIPS).glob(".*.part"):
        part.unlink(missing_ok=True)  # of a run that was killed


def _refuse_others(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: holds something else already, expected a new folder")


def _how(about: Dataset) -> str:
    """Return in words what the clips' bytes depend on."""
    held = about.options
    return f"size {about.size}, design {held.get('design')}, sheets {held.get('sheets')}"


def _videos(
    tree: Path, out: Path, splits: dict[str, list[Sprite]], about: Dataset, jobs: int, watch: Watch
) -> dict[str, str]:
    """Write the videos that are not there yet; return the SHA-256 of all by key."""
    how, held = _how(about), read_journal(out / JOURNAL)
    made: dict[str, str] = {}
    waiting: list[_Job] = []
    for sprite in (sprite for part in splits.values() for sprite in part):
        known, path = held.get(sprite.key), out / CLIPS / f"{sprite.key}.mp4"
        seen = known.entry["sha256"] if known is not None and known.entry else None
        if seen is not None and path.is_file() and digest(path) == seen:
            made[sprite.key] = seen
        else:
            waiting.append(_Job(tree, sprite, about.size or 0, path))
    kept = "".join(line_of(known) for key, known in held.items() if key in made)
    journal = out / JOURNAL
    journal.write_text(kept, encoding="utf-8")
    with journal.open("a", encoding="utf-8") as file:
        results = watch(in_parallel(_make, waiting, jobs), len(waiting), "clips rendered")
        for job, seen in zip(waiting, results, strict=True):
            made[job.sprite.key] = seen
            file.write(line_of(Made(key=job.sprite.key, fingerprint=how, entry={"sha256": seen})))
            file.flush()
    return made


def _make(job: _Job) -> Any:
    """Render a clip; write its video and return that's SHA-256, or return the clip."""
    who = job.sprite
    clip = _renderer(job.tree).render(who.identity, who.action, who.direction, job.size)
    if job.path is None:
        return clip
    write_exact(job.path, clip)
    return digest(job.path)


# One a process: its sheets are read once.
_renderer = functools.cache(SpriteRenderer)


def _entry(out: Path, design: Design, sprite: Sprite, size: int, seen: str) -> Entry:
    return Entry(
        path=out / CLIPS / f"{sprite.key}.mp4",
        frames=FRAMES,
        fps=float(RATE),
        width=size,
        height=size,
        codec="vp9",
        sha256=seen,
        labels=design.labels(sprite),
    )


def _check_arrays(most: int, size: int) -> None:
    needed = 4 * most * FRAMES * 3 * size**2
    if needed > MOST:
        raise InputError(
            f"--arrays: the training part would be {needed / 2**30:.1f} GiB, expected at most {MOST / 2**30:.0f}; "
            "train from the videos, or take a smaller --size or --design"
        )


def _write_arrays(
    tree: Path,
    folder: Path,
    splits: dict[str, list[Sprite]],
    design: Design,
    about: Dataset,
    jobs: int,
    tell: Callable[[str], None],
    watch: Watch,
) -> None:
    wanted = replace(about, kind="arrays")
    if (folder / NAME).is_file() and Dataset.read(folder) == wanted:
        return
    tell(f"arrays: {folder}")
    (folder / NAME).unlink(missing_ok=True)
    for split, part in splits.items():
        jobs_of = [_Job(tree, sprite, about.size or 0, None) for sprite in part]
        clips = watch(in_parallel(_make, jobs_of, jobs), len(part), f"arrays of {split}")
        labels = [design.labels(sprite) for sprite in part]
        held: dict[str, Array] = {"x": _scaled(clips, len(part), about.size or 0)}
        held |= {name: np.array([row[name] for row in labels], np.int64) for name in about.label_names}
        arrays.write(folder / f"{split}.npz", held, overwrite=True)
    wanted.write(folder)


def _scaled(clips: Iterator[Array], count: int, size: int) -> Array:
    """Return clips as float32 in [-1, 1], to the bit what loaders make of their videos."""
    x = np.empty((count, FRAMES, 3, size, size), np.float32)
    for row, clip in zip(x, clips, strict=True):
        np.multiply(clip, np.float32(1 / 127.5), out=row, dtype=np.float32)
        row -= 1
    return x
