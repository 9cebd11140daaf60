"""A run on one page: a single HTML file that needs nothing else, now or in ten years."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from diffsda.errors import InputError
from diffsda.report.canvas import DPI
from diffsda.report.files import write
from diffsda.report.sections import Details, Figure, Score, Scores, Section, Table, Text

__all__ = ["Details", "Figure", "Score", "Scores", "Section", "Table", "Text", "page", "write_page"]

_CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --line: #d0d7de;
  --band: #f6f8fa; --good: #0b6b3a; --bad: #a63c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a3adb8; --paper: #14171b;
  --line: #3a424c; --band: #1d2228; --good: #5fd39a; --bad: #ffab70; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1.2rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .4rem; }
p { max-width: 44rem; margin: .5rem 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .3rem 0; }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { background: var(--band); }
td.number { text-align: right; white-space: nowrap; }
.met, .missed { white-space: nowrap; font-weight: 600; }
.met { color: var(--good); }
.missed { color: var(--bad); }
figure { margin: 1.4rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 6px;
  border: 1px solid var(--line); }
figcaption { color: var(--soft); margin-top: .5rem; max-width: 44rem; }
details { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
footer { border-top: 1px solid var(--line); margin-top: 2.5rem; color: var(--soft); font-size: .9rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { th, td { padding: .35rem .5rem; }
  figure img { max-width: none; width: max(100%, 34rem); } }
"""
# Forbids the browser every request; pictures come from the file itself.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, sections: Iterable[Section], *, footer: Mapping[str, object] | None = None) -> str:
    """Return one self-contained HTML document: pictures inside, no script, nothing fetched.

    All text is escaped. ``footer`` names where the page comes from (recipe, checkpoint, seed, versions).
    Reads on a phone and follows the reader's light or dark setting.
    Raises: InputError if the title is empty or something is not a section.
    """
    if not title.strip():
        raise InputError("page: got an empty title, expected one")
    body = "\n".join(_section(section) for section in sections)
    ending = "" if not footer else f"<footer><dl>{''.join(_term(k, v) for k, v in footer.items())}</dl></footer>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n{ending}\n</main>\n</body>\n</html>\n"
    )


def write_page(
    path: str | Path, title: str, sections: Iterable[Section], *, footer: Mapping[str, object] | None = None
) -> Path:
    """Write ``page`` to a file, whole or not at all. Returns the path.

    Raises: InputError as ``page``; SaveError if the file cannot be written.
    """
    return write(path, page(title, sections, footer=footer).encode())


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
        case Details():
            inside = "\n".join(_section(part) for part in section.sections)
            return f"<details><summary>{escape(section.summary)}</summary>\n{inside}\n</details>"
    raise InputError(f"page: got {type(section).__name__}, expected Text, Scores, Table, Figure or Details")


def _text(section: Text) -> str:
    heading = f"<h2>{escape(section.heading)}</h2>\n" if section.heading else ""
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
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in section.columns)
    rows = ["<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in section.rows]
    return _frame(section.caption, head, rows)


def _frame(caption: str, head: str, rows: list[str]) -> str:
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "\n".join(rows)
    return f'<div class="wide"><table>{named}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _figure(section: Figure) -> str:
    # Sizes in the tag keep the page from jumping while it loads; dots are shown at their printed size.
    wide, high = (round(side * 96 / DPI) for side in section.size)
    data = base64.b64encode(section.png).decode("ascii")
    picture = f'<img src="data:image/png;base64,{data}" alt="{escape(section.alt)}" width="{wide}" height="{high}">'
    caption = f"<figcaption>{escape(section.caption)}</figcaption>" if section.caption else ""
    return f'<figure><div class="wide">{picture}</div>{caption}</figure>'


def _term(name: str, value: object) -> str:
    return f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>"
