"""Run a protocol over models and seeds; what one seed cost is kept, so that a stopped evaluation goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.errors import InputError, SaveError
from diffsda.evaluate.result import Row, merge

Make = Callable[[int, int], list[Row]]
"""Score model number i with a seed."""


def key_of(settings: Any) -> str:
    """Return what an evaluation is known by: a digest of all that decides its values."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class Journal:
    """Rows of finished seeds, a line each, beside the result that is to come.

    Lines of other settings do not count, and are kept for the evaluation they are of.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.others: list[bytes] = []
        """Lines of finished seeds of other settings."""
        self.held: dict[tuple[int, int], list[Row]] = {}
        if not path.is_file():
            return
        for line in path.read_bytes().split(b"\n"):
            try:
                plain = json.loads(line)
                rows = [Row.from_dict(row) for row in plain["rows"]]
                if plain["key"] == key:
                    self.held[plain["model"], plain["seed"]] = rows
                else:
                    self.others.append(line)
            except (ValueError, KeyError, TypeError, InputError):
                continue  # a line that was being written when the program was stopped

    def keep(self, model: int, seed: int, rows: list[Row]) -> None:
        """Add a finished seed.

        Raises: SaveError if the line cannot be written.
        """
        self.held[model, seed] = rows
        plain = {"key": self.key, "model": model, "seed": seed, "rows": [row.to_dict() for row in rows]}
        try:
            # The line feed comes first: a line that was cut off must not swallow this one.
            with self.path.open("ab") as file:
                file.write(b"\n" + json.dumps(plain).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SaveError(f"{self.path}: {error.strerror or error}; make room and run it again") from error

    def drop(self) -> None:
        """Remove this evaluation's seeds: the result is on disk. Without those of others the file goes.

        Raises: SaveError if the others cannot be written; what was there is untouched.
        """
        if self.others:
            atomic_write(self.path, lambda file: file.write(b"\n".join(self.others)))
        else:
            self.path.unlink(missing_ok=True)


def evaluate(make: Make, models: int, seeds: Sequence[int], journal: Journal | None = None) -> list[Row]:
    """Score every model with every seed and put the rows together: values are model by model, seed by seed.

    Raises: InputError without a seed, or for one that is given twice.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"--seeds: got {list(seeds)}, expected different whole numbers >= 0, at least one")
    runs = []
    for model in range(models):
        for seed in seeds:
            rows = None if journal is None else journal.held.get((model, seed))
            if rows is None:
                rows = make(model, seed)
                if journal is not None:
                    journal.keep(model, seed, rows)
            runs.append(rows)
    return [dataclasses.replace(row, models=models) for row in merge(runs)]
