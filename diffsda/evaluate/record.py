"""A result on disk: what was measured, by whom, on what, beside what the papers report; and as a table."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.errors import InputError
from diffsda.evaluate.result import Row

FORMAT = 1
ARROWS = {"lower": "\u2193", "higher": "\u2191", "neither": ""}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What `diffsda evaluate` leaves."""

    protocol: str
    tables: str
    about: str
    data: str
    """The set's name."""
    rows: list[Row]
    seeds: tuple[int, ...]
    published: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the papers: table, data, system, metric, value, spread."""
    judges: list[dict[str, Any]] = field(default_factory=list)
    """Judges asked: kind, name, version, substitute."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Model, clips, options, versions, seconds."""

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the result as JSON, whole or not at all."""
        plain = {
            "format": FORMAT,
            "protocol": self.protocol,
            "tables": self.tables,
            "about": self.about,
            "data": self.data,
            "seeds": list(self.seeds),
            "rows": [row.to_dict() for row in self.rows],
            "published": self.published,
            "judges": self.judges,
            "provenance": self.provenance,
        }
        text = json.dumps(plain, indent=1, allow_nan=False) + "\n"
        atomic_write(path, lambda file: file.write(text.encode()))
        return Path(path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Result:
        """Read what ``write`` wrote.

        Raises: InputError, one line, if it is missing or something else.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: no such file, expected what `diffsda evaluate` writes") from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read ({error}), expected what `diffsda evaluate` writes") from None
        if not isinstance(plain, dict) or plain.get("format") != FORMAT or "protocol" not in plain:
            raise InputError(f"{path}: is no result of format {FORMAT}, expected what `diffsda evaluate` writes")
        try:
            words = {name: str(plain[name]) for name in ("protocol", "tables", "about", "data")}
            return cls(
                **words,
                rows=[Row.from_dict(row) for row in plain["rows"]],
                seeds=tuple(int(seed) for seed in plain["seeds"]),
                published=[dict(row) for row in plain["published"]],
                judges=[dict(judge) for judge in plain["judges"]],
                provenance=dict(plain["provenance"]),
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: is not usable ({error!r}), expected what `diffsda evaluate` writes") from None

    @property
    def notes(self) -> list[str]:
        """What is to be known of all rows."""
        first = self.rows[0].notes if self.rows else ()
        return [one for one in first if all(one in row.notes for row in self.rows)]

    def remarks(self, row: Row) -> list[str]:
        """Return why a row has no value, and what is to be known of it and not of all."""
        return [*([row.reason] if row.reason else []), *(one for one in row.notes if one not in self.notes)]

    def table(self) -> str:
        """Return the rows as a Markdown table, the model's first, baselines in italics, the papers' last.

        Why a value is missing, and what to know of one, is numbered in the table and said once below it; what goes for
        all rows is said there alone. Baselines that have no value are left out.
        """
        shown = [row for row in self.rows if not row.baseline]
        shown += [row for row in self.rows if row.baseline and row.mean == row.mean]
        words = list(dict.fromkeys(one for row in shown for one in self.remarks(row)))
        many = any(len(row.values) > 1 for row in shown)
        counted = any(row.count is not None for row in shown)
        missing = any(row.missed is not None for row in shown)
        judged = any(row.judge for row in shown)
        over = "models" if any(row.over == "models" for row in shown) else "seeds"
        head = ["metric", "value", *([f"95 % interval over {over}"] if many else []), *(["over"] if counted else [])]
        head += [*(["missed"] if missing else []), *(["judge"] if judged else [])]
        lines = []
        for row in shown:
            marks = " ".join(f"({words.index(one) + 1})" for one in self.remarks(row))
            cells = [name_of(row), f"{value_of(row)} {marks}".rstrip()]
            cells += [interval_of(row)] if many else []
            cells += ["" if row.count is None else f"{row.count:,}"] if counted else []
            cells += ["" if row.missed is None else f"{row.missed:.1%}"] if missing else []
            cells += [judge_of(row)] if judged else []
            lines.append(cells)
        for one in self.published:
            spread = "" if one.get("spread") is None else f" \u00b1 {number(one['spread'])}"
            cells = [f"paper, {one['system']} on {one['data']} (Table {one['table']}): {one['metric']}"]
            cells += [f"{number(one['value'])}{spread}", *[""] * (len(head) - 2)]
            lines.append(cells)
        rows = [head, ["---"] * len(head), *lines]
        table = ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
        below = [*self.notes, *(f"({place}) {one}" for place, one in enumerate(words, 1))]
        return "\n".join([*table, *([""] if below else []), *below]) + "\n"


def name_of(row: Row) -> str:
    """Return a row's first cell: words and metric, better side, unit."""
    words = f"{row.about} ({row.metric})" if row.about else row.metric
    side = f" {ARROWS[row.better]}" if ARROWS[row.better] else ""
    text = f"{words}{side}, {row.unit}" if row.unit else f"{words}{side}"
    return f"*baseline: {text}*" if row.baseline else text


def value_of(row: Row) -> str:
    """Return the mean, or a dash where there is none."""
    return "\u2013" if row.mean != row.mean else number(row.mean)


def interval_of(row: Row) -> str:
    """Return the interval of the mean, or nothing."""
    return "" if row.interval is None else f"{number(row.interval[0])} to {number(row.interval[1])}"


def judge_of(row: Row) -> str:
    """Return who judged, and whether in another's place."""
    return f"{row.judge} (substitute)" if row.judge and row.substitute else row.judge


def number(value: float) -> str:
    """Return a number to four digits that count, or four decimals."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.3g}"
    # Shares and other small values line up, 1 under 0.9876.
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.{max(0, 3 - int(math.log10(abs(value))))}f}"
