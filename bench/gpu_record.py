"""The record of a run on a GPU: written anew after every row, so that what there is when time is over is kept."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.bench.cases import records_folder
from diffsda.errors import DiffSDAError

Row = dict[str, Any]


class Record:
    """What a run has found so far.

    ``partial`` stays true to the end of a run: one that is stopped leaves a record that says so. ``kind`` comes
    before the date in the record's name; ``again`` goes on with the record of that name, if there is one.
    """

    def __init__(
        self,
        about: dict[str, Any],
        folder: Path | None = None,
        out: Path | None = None,
        *,
        kind: str = "",
        again: bool = False,
    ) -> None:
        place = (folder or records_folder()) / folder_name(about["gpu"] or "unknown")
        place.mkdir(parents=True, exist_ok=True)
        name = f"{kind}{about['date']}-{about['commit']}.json"
        given = out or (Path(os.environ["OUT"]) if os.environ.get("OUT") else None)
        self.paths = [place / name, *([given / name] if given and given.is_dir() else [])]
        self.content: dict[str, Any] = {"partial": True, "about": about, "ceilings": {}, "tests": {}, "rows": []}
        if again and self.paths[0].is_file():
            self.content = json.loads(self.paths[0].read_text()) | {"partial": True}
        self.write()

    @property
    def rows(self) -> list[Row]:
        """The rows there are."""
        return self.content["rows"]

    def add(self, row: Row) -> None:
        """Add a row and write the record."""
        self.rows.append(row)
        self.write()

    def note(self, **parts: Any) -> None:
        """Set parts of the record and write it."""
        self.content |= parts
        self.write()

    def write(self) -> None:
        """Write the record everywhere it goes; the place beside it is a convenience and may fail."""
        rows = ",\n".join(json.dumps(row) for row in self.rows)
        rest = {k: v for k, v in self.content.items() if k != "rows"}
        text = f'{json.dumps(rest, indent=1)[:-2]},\n "rows": [\n{rows}\n]}}\n'
        for i, path in enumerate(self.paths):
            try:
                atomic_write(path, lambda file: file.write(text.encode()))
            except DiffSDAError:
                if i == 0:
                    raise


def folder_name(gpu: str) -> str:
    """Return a GPU's name fit for a folder."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") or "unknown"
