"""What a page is made of: text, scores, tables, figures, and parts folded away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from diffsda.errors import InputError

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Text:
    """Paragraphs, parted by empty lines, under a heading if there is one."""

    body: str
    heading: str = ""


@dataclass(frozen=True)
class Score:
    """One measured number and, where there is one, the goal it is held against."""

    name: str
    value: float
    goal: float | None = None
    better: Literal["higher", "lower"] = "higher"
    """Which side of the goal is good; the goal itself counts as met."""
    note: str = ""
    digits: int = 3

    def __post_init__(self) -> None:
        if self.better not in ("higher", "lower"):
            raise InputError(f"score {self.name!r}: got better={self.better!r}, expected 'higher' or 'lower'")

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal. A value that is not a number never meets one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal


@dataclass(frozen=True)
class Scores:
    """A table of scores: value, goal, and met or missed in words and by mark."""

    rows: tuple[Score, ...]
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A plain table of text; every row has as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise InputError(f"table: row {i} has {len(row)} cells, expected {len(self.columns)}")


@dataclass(frozen=True)
class Figure:
    """A picture as PNG bytes; ``alt`` says what it shows to those who cannot see it."""

    png: bytes
    caption: str
    alt: str

    def __post_init__(self) -> None:
        if not isinstance(self.png, bytes) or self.png[:8] != PNG or len(self.png) < 24:
            raise InputError(f"figure {self.caption!r}: got {self.png[:8]!r}..., expected the bytes of a PNG")
        if not self.alt.strip():
            raise InputError(f"figure {self.caption!r}: got no alt text, expected what the picture shows")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in dots, read from the PNG's header."""
        return int.from_bytes(self.png[16:20], "big"), int.from_bytes(self.png[20:24], "big")


@dataclass(frozen=True)
class Details:
    """Sections folded away behind one line."""

    summary: str
    sections: "tuple[Section, ...]"


Section: TypeAlias = Text | Scores | Table | Figure | Details
