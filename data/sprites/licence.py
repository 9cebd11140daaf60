"""Whose the characters are, and what may be done with clips of them: read from the package, kept beside the clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffsda.atomic import atomic_write
from diffsda.data.debian import Unpacked

NAME = "LICENCE.txt"
COPIED = "COPYRIGHT-flare-game.txt"
_PLACE = Path("usr/share/doc/flare-game/copyright")
_FLARE = "https://github.com/flareteam/flare-game"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the package's copyright file says of its art."""

    holders: str = "2012-2021 Clint Bellanger and others"
    licence: str = "CC-BY-SA-3.0+"


def read_terms(tree: Path) -> Terms:
    """Return holders and licence of the package's files; what its version 1.14 says, where the tree has no such file.

    Source: Debian's format of copyright files 1.0, whose paragraph for ``Files: *`` is about everything not named.
    """
    path = tree / _PLACE
    if not path.is_file():
        return Terms()
    for paragraph in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        fields = _fields(paragraph)
        if fields.get("files") == "*" and fields.get("copyright") and fields.get("license"):
            return Terms(holders=fields["copyright"], licence=fields["license"])
    return Terms()


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')} {line.strip()}".strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def write_licence(out: Path, package: Unpacked, terms: Terms) -> None:
    """Leave a licence text, and the package's own copyright file, beside the clips."""
    version = f" {package.version}" if package.version else ""
    text = (
        f"These clips show characters of the game Flare. They were rendered from the picture sheets of the Debian\n"
        f"package {package.package}{version} ({_FLARE}): layers were put over each other on grey, cut out and\n"
        f"scaled down.\n\n"
        f"Copyright {terms.holders}\n"
        f"Licence: {terms.licence} (Creative Commons Attribution-ShareAlike 3.0 or, at your option, any later\n"
        f"version: https://creativecommons.org/licenses/by-sa/3.0/).\n\n"
        f"Whoever passes these clips on, changed or not, names the authors, says what was changed, and does so under\n"
        f"the same licence.\n"
    )
    atomic_write(out / NAME, lambda file: file.write(text.encode()))
    copied = package.tree / _PLACE
    if copied.is_file():
        atomic_write(out / COPIED, lambda file: file.write(copied.read_bytes()))
