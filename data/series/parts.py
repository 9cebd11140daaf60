"""The parts of a set that fits in memory, written as a prepared folder."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from diffsda.data import arrays
from diffsda.data.check import Array
from diffsda.data.prepared import NAME, SPLITS, Dataset
from diffsda.data.problems import Problems
from diffsda.errors import InputError

Parts = dict[str, dict[str, Array]]
"""split -> arrays as ``data.arrays`` writes them: x, lengths, mask, labels, and floats that go along."""
Tell = Callable[[str], None]


def silent(words: str) -> None:
    """Tell nobody."""


def refuse_finished(out: str | os.PathLike[str], overwrite: bool) -> None:
    """Refuse a folder that holds a prepared set, unless it may be replaced.

    Raises: InputError if it may not.
    """
    if (Path(out) / NAME).exists() and not overwrite:
        raise InputError(f"{out}: holds a prepared set already; pass --overwrite to replace it, or another --out")


def note(problems: Problems, path: Path, error: InputError, after: str = "") -> None:
    """Note what was wrong with a file as its problem; the file, and the line, are not said twice."""
    words = str(error).removeprefix(f"{path}:")
    line, colon, rest = words.partition(":")
    if colon and line.isdecimal():
        problems.add(path, rest + after, int(line))
    else:
        problems.add(path, words + after)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text; bytes that are no UTF-8 are replaced.

    Raises: InputError if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def begin(out: Path) -> bool:
    """Make the folder to prepare into; one that was finished is unfinished from here on. Tell whether it was.

    Raises: InputError if it cannot be made.
    """
    finished = (out / NAME).exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder ({error.strerror or error})") from None
    return finished


def leave(out: Path, held: Dataset, parts: Parts, problems: Problems) -> Dataset:
    """Write the parts that hold clips, the problems, and dataset.json last; return what dataset.json says.

    Raises: InputError if the training part is empty.
    """
    kept = {split: parts[split] for split in SPLITS if split in parts and len(parts[split]["x"])}
    if "train" not in kept:
        raise InputError(f"{held.name}: no clip is left for training; see what was told above")
    begin(out)
    for split in SPLITS:
        path = out / f"{split}.npz"
        if split in kept:
            arrays.write(path, kept[split], overwrite=True)
        else:
            path.unlink(missing_ok=True)
    problems.write(out)
    held = replace(held, splits={split: len(part["x"]) for split, part in kept.items()})
    held.write(out)
    return held


def part(arrays_of_all: Mapping[str, Array], splits: Mapping[str, Sequence[int]]) -> Parts:
    """Deal the clips out: arrays (N, ...) of all of them, and the rows of each split."""
    return {
        split: {name: values[list(rows)] for name, values in arrays_of_all.items()} for split, rows in splits.items()
    }


def shuffled(rows: Sequence[int], seed: int) -> list[int]:
    """Return the rows in the order Python's own generator shuffles them into, as the authors' code does."""
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    return rows


def find(root: str | os.PathLike[str], pattern: str, depth: int = 3) -> list[Path]:
    """Return what lies under a folder and has a name like the pattern: the shallowest, sorted.

    Raises: InputError if the folder is not there.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"--root: got {root}, which is no folder")
    for level in range(depth + 1):
        found = sorted(root.glob("/".join(["*"] * level + [pattern])))
        if found:
            return found
    return []
