"""Pairs of clips to be swapped: drawn once, kept in a file, the same for every model."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from diffsda.atomic import atomic_write
from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import labelled, table, usable
from diffsda.evaluate.lengths import Array, Ints

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.evaluate.job import Job

FORMAT = 1
COUNT = 500
"""Pairs drawn where nobody says how many."""
OWN = "test_pairs.jsonl"
"""The list that a prepared folder has of its own."""
COLUMNS = ["first", "second"]
"""Rows of the clip that lends the static factor, and of the one that lends the dynamics."""
MADE = (
    "`diffsda evaluate ... --save-pairs PATH.csv` makes one: a line of comment that says which clips it is of, then "
    "rows first,second of clips counted from 0 (first lends the static factor, second the dynamics)"
)
Rows = tuple[Ints, Ints]
Different = Literal["any", "every", "none"]


@dataclass(frozen=True, eq=False)
class PairList:
    """Rows (P,) of clips in pairs, and of which clips."""

    first: Ints
    second: Ints
    name: str
    """The set's."""
    split: str
    fingerprint: str
    names: str | None = None
    """Fingerprint of what the clips are called in their folder; None where that is not known."""
    seed: int | None = None
    """What it was drawn from."""

    @classmethod
    def of(
        cls,
        rows: Rows,
        clips: Clips,
        *,
        split: str = "test",
        seed: int | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> PairList:
        """Return rows of clips as a list, with what tells the clips from others."""
        return cls(*rows, clips.name, split, fingerprint(clips), names_of(folder, split), seed)


def draw(
    clips: int,
    count: int,
    seed: int,
    *,
    static: Mapping[str, Array] | None = None,
    dynamic: Mapping[str, Array] | None = None,
    different: Different = "any",
) -> Rows:
    """Draw pairs of clips that differ in what they keep and in what happens in them.

    Every pair of two such clips is as likely, none comes twice, and which of the two is first is drawn too. Clips with
    a label that is not known are left out, however pairs are to differ; without labels of a role, any two clips differ
    in it. There may be fewer pairs than asked for, never none.

    Shapes: labels (N,) by name -> rows (P,) and (P,), P <= count.
    different: in ``any`` one label of a role, or in ``every`` one; ``none`` takes any two clips.
    Source: DiViD section 4 (pairs of other subjects and other actions). Differs: its list is not published.
    Raises: InputError if no two clips differ so.
    """
    if different not in ("any", "every", "none"):
        raise InputError(f"different: got {different!r}, expected any, every or none")
    if count < 1 or seed < 0:
        raise InputError(f"pairs: got count {count} and seed {seed}, expected at least 1 and 0")
    roles = [role for role in (static, dynamic) if role]
    known = np.flatnonzero(labelled({name: role[name] for role in roles for name in role}, clips))
    compared = [] if different == "none" else roles
    held = [np.stack([np.asarray(role[name])[known] for name in role], 1) for role in compared]
    # Row by row of the triangle of all pairs: it would not fit into memory for large sets.
    found = np.array([_fits(held, row, len(known), different).sum() for row in range(len(known))], np.int64)
    total = int(found.sum())
    if not total:
        raise InputError(
            f"pairs: got {len(known)} clips of which no two differ in {_words(static, dynamic)}, expected two at least"
        )
    random = np.random.default_rng(seed)
    ranks = np.sort(random.choice(total, min(count, total), replace=False))
    ends = np.cumsum(found)
    rows = np.searchsorted(ends, ranks, side="right")
    places = ranks - (ends - found)[rows]
    chosen = {int(row): np.flatnonzero(_fits(held, int(row), len(known), different)) for row in np.unique(rows)}
    pairs = np.array([(row, chosen[int(row)][place]) for row, place in zip(rows, places, strict=True)], np.int64)
    pairs = known[random.permuted(pairs, axis=1)][random.permutation(len(pairs))]
    return pairs[:, 0], pairs[:, 1]


def both(rows: Rows) -> Rows:
    """Return every pair in both directions, the turned ones after the others."""
    first, second = rows
    return np.concatenate([first, second]), np.concatenate([second, first])


def checked(first: Any, second: Any, clips: int, name: str = "pairs") -> Rows:
    """Return rows as int64.

    Raises: InputError if there is no pair, the two are not as many, or a row is not there.
    """
    rows = np.asarray(first), np.asarray(second)
    if rows[0].shape != rows[1].shape or rows[0].ndim != 1:
        raise InputError(f"{name}: got rows {rows[0].shape} and {rows[1].shape}, expected (P,) both")
    if not rows[0].size:
        raise InputError(f"{name}: got no pair, expected at least one")
    for part in rows:
        if part.dtype.kind not in "iu":
            raise InputError(f"{name}: got {part.dtype} rows, expected whole numbers")
        if part.min() < 0 or part.max() >= clips:
            raise InputError(
                f"{name}: got rows from {part.min()} to {part.max()}, expected 0 to {clips - 1}, those of the clips"
            )
    return rows[0].astype(np.int64), rows[1].astype(np.int64)


def fingerprint(clips: Clips) -> str:
    """Return what tells clips from others: a SHA-256 of the set's name, their number and their labels.

    It is the same whatever size, codec or units the clips are read in, so that models of different sizes share a list.
    """
    held = {name: np.asarray(label).tolist() for name, label in sorted(clips.labels.items()) if label.ndim == 1}
    return _digest({"name": clips.name, "clips": len(clips), "labels": held})


def names_of(folder: str | os.PathLike[str] | None, split: str) -> str | None:
    """Return a SHA-256 of what the clips of a split of a prepared folder are called, None where it does not say."""
    if folder is None:
        return None
    from diffsda.data.frames_format import CLIPS, read_index
    from diffsda.data.video.entry import read_entries

    if (index := Path(folder) / f"{split}.jsonl").is_file():
        # Of a path only the file's name: folders are elsewhere on another machine, endings follow the codec.
        return _digest([entry.path.stem for entry in read_entries(index)])
    if (index := Path(folder) / split / CLIPS).is_file():
        return _digest(read_index(index)[0].keys)
    return None


def write(path: str | os.PathLike[str], pairs: PairList) -> Path:
    """Write a list as CSV under a line of comment that says what it is of; whole or not at all.

    Raises: InputError, SaveError, as ``atomic_write``.
    """
    about = {
        "pairs": FORMAT,
        "set": pairs.name,
        "split": pairs.split,
        "clips": pairs.fingerprint,
        "names": pairs.names,
        "seed": pairs.seed,
    }
    text = io.StringIO()
    text.write(f"# {json.dumps(about)}\n")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    atomic_write(path, lambda file: file.write(text.getvalue().encode()))
    return Path(path)


def read_list(path: str | os.PathLike[str]) -> PairList:
    """Read what ``write`` wrote, of whichever clips.

    Raises: InputError if the file is missing, something else or empty.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a list of pairs") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}), expected a list of pairs") from None
    about = _about(path, lines[0] if lines else "")
    rows = list(csv.reader(lines[1:]))
    if not rows or rows[0] != COLUMNS:
        raise InputError(f"{path}: got columns {', '.join(rows[0]) if rows else 'none'}, expected {', '.join(COLUMNS)}")
    held = [_row(path, number, row) for number, row in enumerate(rows[1:], 3)]
    table = np.array(held, np.int64).reshape(-1, 2)
    return PairList(table[:, 0], table[:, 1], **about)


def read(
    path: str | os.PathLike[str], clips: Clips, *, folder: str | os.PathLike[str] | None = None, split: str = "test"
) -> Rows:
    """Read a list of pairs of these clips.

    folder, split: where they came from; it tells clips without labels from others.
    Raises: InputError as ``read_list``, for a list of other clips, or rows that are not there.
    """
    kept = read_list(path)
    names = names_of(folder, split)
    if kept.fingerprint != fingerprint(clips) or (kept.names and names and kept.names != names):
        raise InputError(
            f"{path}: is of other clips ({kept.name}, {kept.split}), expected a list of {clips.name}: all {len(clips)} "
            "of them, in this order"
        )
    return checked(kept.first, kept.second, len(clips), str(path))


def own(folder: str | os.PathLike[str], clips: int) -> Rows | None:
    """Return the list that a prepared folder has of its own, the published one of its set; None without one.

    clips: how many test clips are used.
    Raises: InputError if the file is broken, or the clips are not all that the folder has.
    """
    from diffsda.data.prepared import Dataset, is_prepared

    path = Path(folder) / OWN
    if not path.is_file():
        return None
    if is_prepared(folder) and (held := Dataset.read(folder).splits.get("test")) != clips:
        raise InputError(f"{path}: is of {held} test clips, got {clips}; score all of them, or draw pairs")
    try:
        plain = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = np.array([[line["first"], line["second"]] for line in plain]).reshape(-1, 2)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error!r}), expected lines with first and second") from None
    return checked(rows[:, 0], rows[:, 1], clips, str(path))


def of_job(job: Job, *, own_list: bool = True) -> Rows:
    """Return the pairs of a job: those it was given, for the test part those of its folder, or drawn ones.

    options: pairs (how many to draw, instead of the folder's list), different (any, every, none).
    own_list: whether the folder's own list will do; its pairs may have labels in common.
    Raises: InputError if there is none, or they are of other clips.
    """
    if job.pairs is not None:
        return checked(*job.pairs, len(job.test))
    asked = job.options.get("pairs")
    # The list is of the test part; of another one its rows are other clips.
    if own_list and asked is None and job.folder is not None and job.split == "test":
        published = own(job.folder, len(job.test))
        if published is not None:
            return published
    static, dynamic = (table(job.test, usable([job.test], names)[0]) for names in (job.static, job.dynamic))
    count = _count(COUNT if asked is None else asked)
    different = job.options.get("different", "any")
    return draw(len(job.test), count, job.seed, static=static, dynamic=dynamic, different=different)


def _count(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise InputError(f"pairs: got {given!r}, expected how many to draw, a whole number")
    return given


def _fits(held: list[Array], row: int, clips: int, different: Different) -> Array:
    """Return (clips,) booleans: which clips after this row differ from it in every role."""
    fits = np.arange(clips) > row
    for role in held:
        gaps = role != role[row]
        fits &= gaps.any(axis=1) if different == "any" else gaps.all(axis=1)
    return fits


def _words(static: Mapping[str, Array] | None, dynamic: Mapping[str, Array] | None) -> str:
    parts = ["/".join(role) for role in (static, dynamic) if role]
    return " and in ".join(parts) or "anything"


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _about(path: str | os.PathLike[str], line: str) -> dict[str, Any]:
    """Return what the first line of a list says of it."""
    try:
        about = json.loads(line.removeprefix("#")) if line.startswith("#") else None
    except (ValueError, RecursionError):
        about = None
    wanted = {"set": str, "split": str, "clips": str, "names": (str, type(None)), "seed": (int, type(None))}
    if not isinstance(about, dict) or about.get("pairs") != FORMAT:
        begins = f"begins with {line[:40]!r}" if line else "is empty"
        raise InputError(f"{path}: {begins}, expected a list of pairs of format {FORMAT}; {MADE}")
    for name, kind in wanted.items():
        if not isinstance(about.get(name), kind):  # type: ignore[arg-type]
            raise InputError(f"{path}: says {name} {about.get(name)!r} of itself, expected what was written")
    held = {name: about.get(name) for name in ("split", "names", "seed")}
    return {"name": about["set"], "fingerprint": about["clips"], **held}


def _row(path: str | os.PathLike[str], number: int, cells: list[str]) -> tuple[int, ...]:
    if len(cells) != len(COLUMNS):
        raise InputError(f"{path}:{number}: got {len(cells)} cells, expected {len(COLUMNS)}")
    for cell in cells:
        # int() would also take " 1_0 ", and an array only so many digits.
        if not cell.isascii() or not cell.isdigit() or len(cell) > 15:
            raise InputError(f"{path}:{number}: got {cell[:40]!r}, expected a row, a whole number from 0")
    return tuple(int(cell) for cell in cells)
