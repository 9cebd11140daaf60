"""What a page is made of: text, scores, tables, figures, films, and parts folded away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from diffsda.errors import InputError

PNG = b"\x89PNG\r\n\x1a\n"
WEBM = b"\x1a\x45\xdf\xa3"
"""What a WebM file, as any of EBML, begins with."""
Tone = Literal["", "baseline", "published"]


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
class Tagged:
    """Words with a mark behind them, and small print below."""

    words: str
    tag: str = ""
    small: str = ""


@dataclass(frozen=True)
class Table:
    """A plain table of text; every row has as many cells as there are columns.

    ``tones`` says of each row what it is, where rows are not all alike; ``numbers`` names columns that line up at the
    right; a cell that is a ``Tagged`` has a mark behind its words.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    caption: str = ""
    tones: tuple[Tone, ...] = ()
    numbers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tones and len(self.tones) != len(self.rows):
            raise InputError(f"table: got {len(self.tones)} tones, expected {len(self.rows)}, one a row")
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
class Film:
    """A short silent video as WebM bytes, shown over and over; ``poster`` is its first picture, a PNG.

    It plays by itself unless the reader asked for less motion; who did starts it by hand.
    Raises: InputError if the bytes are no WebM or PNG, or there are no words for those who cannot see it.
    """

    webm: bytes
    poster: bytes
    caption: str
    alt: str

    def __post_init__(self) -> None:
        if not isinstance(self.webm, bytes) or self.webm[:4] != WEBM:
            raise InputError(f"film {self.caption!r}: got {self.webm[:4]!r}..., expected the bytes of a WebM")
        if not isinstance(self.poster, bytes) or self.poster[:8] != PNG or len(self.poster) < 24:
            raise InputError(f"film {self.caption!r}: got {self.poster[:8]!r}..., expected a PNG as poster")
        if not self.alt.strip():
            raise InputError(f"film {self.caption!r}: got no alt text, expected what the film shows")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in dots, read from the poster's header."""
        return int.from_bytes(self.poster[16:20], "big"), int.from_bytes(self.poster[20:24], "big")


@dataclass(frozen=True)
class Details:
    """Sections folded away behind one line."""

    summary: str
    sections: "tuple[Section, ...]"


Section: TypeAlias = Text | Scores | Table | Figure | Film | Details
