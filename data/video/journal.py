"""What came of each clip, a line of JSON as soon as it is known, so that a stopped run goes on."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of a clip: a line of the journal."""

    key: str
    fingerprint: str
    how: str = ""
    """kept (the images' own bytes), encoded, or in place."""
    entry: dict[str, Any] | None = None
    """Of the index, without labels, the path from the prepared folder; None where the clip cannot be used."""
    odd: tuple[str, ...] = ()
    """What is said of all clips it holds for at once."""
    problems: tuple[tuple[str, str], ...] = ()


def line_of(made: Made) -> str:
    """Return a line of the journal."""
    return json.dumps(asdict(made)) + "\n"


def read_journal(path: Path) -> dict[str, Made]:
    """Return what is in a journal, by key; the last line of a clip counts.

    Lines that are no such thing are passed over: the last one of a stopped run may be half a line.
    """
    held: dict[str, Made] = {}
    with suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError, AttributeError, KeyError, RecursionError):
                plain = json.loads(line)
                plain["odd"] = tuple(map(str, plain["odd"]))
                plain["problems"] = tuple((str(where), str(what)) for where, what in plain["problems"])
                held[plain["key"]] = Made(**plain)
    return held
