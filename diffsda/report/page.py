"""A run on one page: a single HTML file that needs nothing else, now or in ten years."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from diffsda.errors import InputError
from diffsda.report.canvas import DPI
from diffsda.report.files import write
from diffsda.report.sections import Details, Figure, Film, Score, Scores, Section, Table, Tagged, Text
from diffsda.report.style import CSS

__all__ = [
    "Details",
    "Figure",
    "Film",
    "Score",
    "Scores",
    "Section",
    "Table",
    "Tagged",
    "Text",
    "page",
    "write_page",
]

# Forbids the browser every request; pictures and films come from the file itself.
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


def page(
    title: str,
    sections: Iterable[Section],
    *,
    footer: Mapping[str, object] | None = None,
    contents: bool = False,
) -> str:
    """Return one self-contained HTML document: pictures inside, no script, nothing fetched.

    All text is escaped. ``footer`` names where the page comes from (recipe, checkpoint, seed, versions); ``contents``
    lists the headings below the title. Every heading can be linked to.
    Reads on a phone and follows the reader's light or dark setting.
    Raises: InputError if the title is empty, two headings are the same, or something is not a section.
    """
    if not title.strip():
        raise InputError("page: got an empty title, expected one")
    sections = list(sections)
    body = "\n".join(_section(section) for section in sections)
    headings = [section.heading for section in sections if isinstance(section, Text) and section.heading]
    anchors = [_anchor(words) for words in headings]
    if twice := {words for words, anchor in zip(headings, anchors) if anchors.count(anchor) > 1}:
        raise InputError(f"page: got the heading {min(twice)!r} twice, expected different ones: they are linked to")
    if contents and headings:
        body = f"{_contents(headings)}\n{body}"
    ending = "" if not footer else f"<footer><dl>{''.join(_term(k, v) for k, v in footer.items())}</dl></footer>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n{ending}\n</main>\n</body>\n</html>\n"
    )


def write_page(
    path: str | Path,
    title: str,
    sections: Iterable[Section],
    *,
    footer: Mapping[str, object] | None = None,
    contents: bool = False,
) -> Path:
    """Write ``page`` to a file, whole or not at all. Returns the path.

    Raises: InputError as ``page``; SaveError if the file cannot be written.
    """
    return write(path, page(title, sections, footer=footer, contents=contents).encode())


def _section(section: Section) -> str:
    match section:
        case Text():
            return _text(section)
        case Scores():
            return _scores(section)
        case Table():
            return _table(section)
        case Figure():
            return _figure(section)
        case Film():
            return _film(section)
        case Details():
            inside = "\n".join(_section(part) for part in section.sections)
            return f"<details><summary>{escape(section.summary)}</summary>\n{inside}\n</details>"
    raise InputError(f"page: got {type(section).__name__}, expected Text, Scores, Table, Figure, Film or Details")


def _text(section: Text) -> str:
    heading = _heading(section.heading) if section.heading else ""
    paragraphs = [part.strip() for part in section.body.split("\n\n") if part.strip()]
    return heading + "\n".join(f"<p>{escape(part)}</p>" for part in paragraphs)


def _scores(section: Scores) -> str:
    notes = any(score.note for score in section.rows)
    columns = ("Score", "Value", "Goal", "Result", *(["Note"] if notes else []))
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    rows = []
    for score in section.rows:
        sign = "\u2265" if score.better == "higher" else "\u2264"
        goal = "\u2013" if score.goal is None else f"{sign} {score.goal:.{score.digits}f}"
        result = {None: "\u2013", True: '<span class="met">\u2713 met</span>'}.get(
            score.met, '<span class="missed">\u2717 missed</span>'
        )
        rows.append(
            f'<tr><th scope="row">{escape(score.name)}</th>'
            f'<td class="number">{score.value:.{score.digits}f}</td>'
            f'<td class="number">{goal}</td><td>{result}</td>'
            + (f"<td>{escape(score.note)}</td></tr>" if notes else "</tr>")
        )
    return _frame(section.caption, head, rows)


def _table(section: Table) -> str:
    numbers = [name in section.numbers for name in section.columns]
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in section.columns)
    rows = []
    for row, tone in zip(section.rows, section.tones or [""] * len(section.rows), strict=True):
        kind = f' class="{tone}"' if tone else ""
        cells = (f'<td class="number">{_cell(c)}</td>' if n else f"<td>{_cell(c)}</td>" for c, n in zip(row, numbers))
        rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
    return _frame(section.caption, head, rows)


def _cell(value: object) -> str:
    if not isinstance(value, Tagged):
        return escape(str(value))
    tag = f' <span class="tag">{escape(value.tag)}</span>' if value.tag else ""
    small = f'<span class="small">{escape(value.small)}</span>' if value.small else ""
    return f"{escape(value.words)}{tag}{small}"


def _frame(caption: str, head: str, rows: list[str]) -> str:
    named = f"<caption><span>{escape(caption)}</span></caption>" if caption else ""
    body = "\n".join(rows)
    return f'<div class="wide"><table>{named}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _figure(section: Figure) -> str:
    # Sizes in the tag keep the page from jumping while it loads; dots are shown at their printed size.
    wide, high = (round(side * 96 / DPI) for side in section.size)
    data = base64.b64encode(section.png).decode("ascii")
    picture = f'<img src="data:image/png;base64,{data}" alt="{escape(section.alt)}" width="{wide}" height="{high}">'
    caption = f"<figcaption>{escape(section.caption)}</figcaption>" if section.caption else ""
    return f'<figure><div class="wide">{picture}</div>{caption}</figure>'


def _film(section: Film) -> str:
    # Without a script nothing can choose whether to play, so there are two: style shows one of them, and a browser
    # takes the source of that one only.
    wide, high = section.size
    # The controls lie over the lower edge: room for them below the pictures.
    room = f"height: calc(100cqw * {high} / {wide} + 3.6rem)"
    poster = f"data:image/png;base64,{base64.b64encode(section.poster).decode('ascii')}"
    source = f"data:video/webm;base64,{base64.b64encode(section.webm).decode('ascii')}"
    ways = (("moving", "autoplay ", "no-preference"), ("still", 'preload="auto" ', "reduce"))
    films = "".join(
        f'<video class="{kind}" {plays}muted loop controls playsinline width="{wide}" height="{high}" '
        f'style="{room}" aria-label="{escape(section.alt)}" poster="{poster}">'
        f'<source src="{source}" type="video/webm" media="(prefers-reduced-motion: {wish})"></video>'
        for kind, plays, wish in ways
    )
    caption = f"<figcaption>{escape(section.caption)}</figcaption>" if section.caption else ""
    return f'<figure class="film" style="max-width:{wide}px">{films}{caption}</figure>'


def _heading(words: str) -> str:
    anchor = _anchor(words)
    return f'<h2 id="{anchor}"><a href="#{anchor}">{escape(words)}</a></h2>\n'


def _contents(headings: list[str]) -> str:
    items = "".join(f'<li><a href="#{_anchor(words)}">{escape(words)}</a></li>' for words in headings)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _anchor(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "part"


def _term(name: str, value: object) -> str:
    return f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>"
