"""Keep a page small: what is too much is left out, the largest first, and named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from diffsda.report.sections import Details, Figure, Film, Section, Text

MOST = 8_000_000
"""Bytes of a page."""
TEXT = 300_000
"""Bytes set aside for everything that is no picture."""


def within(sections: Sequence[Section], most: int = MOST - TEXT) -> list[Section]:
    """Return the sections with pictures of ``most`` bytes at most; films go first, as there are strips beside them.

    What was left out is named where it was.
    """
    pictures = [part for part in _flat(sections) if isinstance(part, (Figure, Film))]
    order = sorted(pictures, key=lambda part: (isinstance(part, Film), _bytes(part)))
    total, dropped = sum(map(_bytes, pictures)), set()
    while total > most and order:
        part = order.pop()
        total -= _bytes(part)
        dropped.add(id(part))
    return [_kept(section, dropped) for section in sections]


def _kept(section: Section, dropped: set[int]) -> Section:
    if isinstance(section, Details):
        return Details(section.summary, tuple(_kept(part, dropped) for part in section.sections))
    if isinstance(section, (Figure, Film)) and id(section) in dropped:
        what = "A film" if isinstance(section, Film) else "A picture"
        size = f"{_bytes(section) / 1e6:.1f} MB"
        return Text(f"{what} of {size} was left out to keep this page small: {section.caption or section.alt}")
    return section


def _flat(sections: Iterable[Section]) -> list[Section]:
    parts: list[Section] = []
    for section in sections:
        parts += _flat(section.sections) if isinstance(section, Details) else [section]
    return parts


def _bytes(part: Figure | Film) -> int:
    """Return what a picture takes in a page, in base64; a film is in there twice, see ``page``."""
    held = len(part.png) if isinstance(part, Figure) else 2 * (len(part.webm) + len(part.poster))
    return 4 * held // 3
