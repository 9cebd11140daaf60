"""What is known of files already: a line of JSON each, so that a killed preparation goes on."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.data.video.layout import Item


class Ledger:
    """Findings by file: found again as long as the file has the same size and date, and ``how`` is the same."""

    def __init__(self, path: Path, how: dict[str, Any]) -> None:
        self._path, self._how = path, how
        self._held = _read(path)
        # Whole lines only, each once: the last may have been cut off.
        text = "".join(json.dumps(line) + "\n" for line in self._held.values())
        atomic_write(path, lambda file: file.write(text.encode()))
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def find(self, item: Item) -> dict[str, Any] | None:
        """Return what was found out about an item, or None if that is not known or no longer true."""
        line = self._held.get(item.key)
        if line is None or line["how"] != self._how or line["state"] != state(item):
            return None
        found: dict[str, Any] = line["found"]
        return found

    def add(self, item: Item, found: dict[str, Any]) -> None:
        """Keep what was found out; it is on disk before the next."""
        line = {"key": item.key, "how": self._how, "state": state(item), "found": found}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def state(item: Item) -> list[int]:
    """Return numbers that change when an item's files do: how many, their bytes, the newest's date."""
    try:
        files = sorted(item.place.iterdir()) if item.pictures else [item.place]
        stats = [file.stat() for file in files]
    except OSError:
        return []
    return [len(stats), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    held: dict[str, dict[str, Any]] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return held
    for row in text.splitlines():
        try:
            line = json.loads(row)
        except ValueError:
            continue
        if isinstance(line, dict) and line.keys() == {"key", "how", "state", "found"}:
            held[str(line["key"])] = line
    return held
