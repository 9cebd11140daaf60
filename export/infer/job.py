"""What there is to do: a folder, one file, or a JSON-lines file as a list of keys and the clips they name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsda.errors import InputError
from diffsda.export.infer.sources import READERS, count, endings
from diffsda.recipe import Clips as Form

MOST = 100_000_000
"""Clips that a number may ask for."""


@dataclass(frozen=True, slots=True)
class Item:
    """One result to make: its key, the file of its clip (of its two donors, static first), the row in a batch file."""

    key: str
    paths: tuple[Path, ...]
    row: int | None = None


@dataclass(frozen=True)
class Job:
    """The items of a job in their order; no two have the same key."""

    path: Path
    items: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.items)

    def shard(self, index: int, count: int) -> tuple[Item, ...]:
        """Return part ``index`` of ``count``: every count-th item."""
        return self.items[index::count]


def read_job(path: str | os.PathLike[str], fields: tuple[str, ...] = ("path",), form: Form | None = None) -> Job:
    """Read a job, without reading any clip (a table apart, whose series have to be counted).

    A folder is all files below it that a reader knows by their ending; a file's key is its path in the folder without
    the ending. Hidden files are passed over. Any other file is JSON lines: an object a line with a key and, for each
    of ``fields``, a path (from the job file's folder). A batch file stands for its clips, with keys KEY/0, KEY/1, ...;
    the donors of a swap are one clip a file. ``form``: what the model sees, so that other kinds of files are passed
    over. A task that needs no clips (no ``fields``) takes a number besides, for keys from 0 on.
    Raises: InputError, with file and line, for a job that is not there, empty, or malformed, and for two items of one
    key.
    """
    path = Path(path)
    if not fields and path.name == str(path) and path.name.isdecimal():
        if not 0 < int(path.name) <= MOST:
            raise InputError(f"job: got {path}, expected a number of clips from 1 to {MOST}")
        return Job(path, tuple(Item(str(number), ()) for number in range(int(path.name))))
    if path.is_dir() or path.suffix.lower() in READERS:
        if fields != ("path",):
            raise InputError(
                f"{path}: got a {'folder' if path.is_dir() else 'file of clips'}, expected a JSON-lines file with "
                f"{', '.join(('key', *fields))} on each line{'' if fields else ', or a number of clips'}"
            )
        if not path.exists():
            raise InputError(f"{path}: no such file, expected a folder of clips, a file of clips, or a JSON-lines file")
        told = _files(path, endings(form))
    else:
        told = _lines(path, fields)
    items, seen = [], dict[str, str]()
    for where, key, paths in told:
        for item in _rows(key, paths, form):
            if item.key in seen:
                raise InputError(
                    f"{where}: key {item.key!r} is that of {seen[item.key]} too, expected a key of its own for each "
                    "clip; rename one"
                )
            seen[item.key] = where
            items.append(item)
    if not items:
        what = f"files ending in {', '.join(endings(form))}" if path.is_dir() else "at least one line"
        raise InputError(f"{path}: got nothing to do, expected {what}")
    return Job(path, tuple(items))


def _rows(key: str, paths: tuple[Path, ...], form: Form | None) -> Iterator[Item]:
    rows = count(paths[0], form) if len(paths) == 1 else None
    if rows is None:
        yield Item(key, paths)
    else:
        # A batch of no clips is one item that fails, rather than nothing that nobody notices.
        yield from (Item(f"{key}/{row}", paths, row) for row in range(rows)) if rows else [Item(key, paths)]


def _files(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, str, tuple[Path, ...]]]:
    found = [path]
    if path.is_dir():
        found = []
        for folder, inner, names in os.walk(path):
            inner[:] = [name for name in inner if not name.startswith(".")]
            found += [Path(folder, name) for name in names if not name.startswith(".")]
    for file in sorted(p for p in found if p.suffix.lower() in suffixes or p == path):
        name = file.relative_to(path).with_suffix("") if path.is_dir() else Path(file.stem)
        yield str(file), name.as_posix(), (file,)


def _lines(path: Path, fields: tuple[str, ...]) -> Iterator[tuple[str, str, tuple[Path, ...]]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}), expected a folder of clips or a JSON-lines file"
        ) from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}:{number}"
            record = _record(line, where)
            key, *names = (_text(record, field, where, fields) for field in ("key", *fields))
            yield where, key, tuple(path.parent / name for name in names)


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        cause = " ".join(str(error).split())[:100]
        raise InputError(f"{where}: got a line that is not JSON ({cause}), expected one object a line") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: got {type(record).__name__}, expected an object like {{...}}")
    return record


def _text(record: dict[str, Any], field: str, where: str, fields: Iterable[str]) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not value or "\0" in value:
        got = "no" if field not in record else f"{value!r:.60} as"
        raise InputError(f"{where}: got {got} {field!r}, expected text for each of {', '.join(('key', *fields))}")
    return value
