"""Trouble with single files of a set: collected, told, kept; the rest goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from diffsda.atomic import atomic_write

NAME = "problems.jsonl"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file, and on which line (from 1) where that is known."""

    path: str
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{where}: {self.reason}"


class Problems:
    """The problems met while a set is prepared, in the order they were found; each is told once."""

    def __init__(self, tell: Callable[[str], None] = lambda words: None) -> None:
        self._tell = tell
        self._held: dict[Problem, None] = {}

    def add(self, path: str | os.PathLike[str], reason: str, line: int | None = None) -> None:
        """Note that a file (or a line of it) cannot be used, and tell it."""
        problem = Problem(os.fspath(path), " ".join(reason.split()), line)
        if problem not in self._held:
            self._held[problem] = None
            self._tell(str(problem))

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._held)

    def write(self, folder: Path) -> None:
        """Keep the problems beside the set, a JSON object a line; without any, an older list goes."""
        path = folder / NAME
        if not self._held:
            path.unlink(missing_ok=True)
            return
        text = "".join(json.dumps(asdict(problem)) + "\n" for problem in self._held)
        atomic_write(path, lambda file: file.write(text.encode()))
