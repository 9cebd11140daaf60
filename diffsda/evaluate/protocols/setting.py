"""Settings of protocols: what each takes, what it is left out, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffsda.errors import InputError

Kind = Literal["whole", "seed", "number", "truth", "table", "word", "words"]
KINDS: dict[Kind, str] = {
    "whole": "a whole number from 1 on",
    "seed": "a whole number from 0 on",
    "number": "a positive number",
    "truth": "true or false",
    "table": 'a table, {"name": value, ...}',
    "word": "a word",
    "words": "a word, or a list of words",
}


@dataclass(frozen=True)
class Setting:
    """One setting, ``--set NAME=VALUE``."""

    kind: Kind
    usual: str
    """What it is where nobody says, in words."""
    about: str
    choices: tuple[str, ...] = ()
    """Words it may be, where only some will do."""

    def check(self, name: str, value: Any) -> None:
        """Refuse a value of another kind, or a word that is none of the choices.

        Raises: InputError.
        """
        if not _is(value, self.kind):
            raise InputError(f"setting {name}: got {value!r}, expected {KINDS[self.kind]}")
        given = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
        for word in given if self.choices else ():
            if word not in self.choices:
                raise InputError(f"setting {name}: got {word!r}, expected {', '.join(self.choices)}")

    def line(self, name: str) -> str:
        """Return all that is to be known of it, in one line."""
        takes = ", ".join(self.choices) if self.choices else KINDS[self.kind]
        if self.choices and self.kind == "words":
            takes = f"some of {takes}"
        return f"{name}: {self.about} ({takes}; left out: {self.usual})"


def _is(value: Any, kind: Kind) -> bool:
    if kind in ("whole", "seed"):
        return isinstance(value, int) and not isinstance(value, bool) and value >= (kind == "whole")
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9
    if kind == "truth":
        return isinstance(value, bool)
    if kind == "table":
        return isinstance(value, dict)
    return isinstance(value, str) or (
        kind == "words" and isinstance(value, list) and all(isinstance(one, str) for one in value)
    )


STARTS = ("dynamic", "static", "fresh", "shared")
"""Where swaps start from: the start noise of a donor, or noise that is drawn."""
READER: Mapping[str, Setting] = {
    "judge": Setting("table", "{}", 'how the reader of labels is trained, for instance {"updates": 500}'),
    "judge_seed": Setting("seed", "0", "seed of the reader of labels, the same for every seed of --seeds"),
}
PAIRS: Mapping[str, Setting] = {
    "pairs": Setting("whole", "the prepared folder's own list, else 500", "pairs to draw, as --draw-pairs"),
    "different": Setting(
        "word",
        "any",
        "how two clips of a pair differ: in any label of each role, in every one, or none need differ",
        ("any", "every", "none"),
    ),
}
VIDEO_NOISES = Setting(
    "words", "none", "start noises that get rows of their own beside --noise", (*STARTS, "reference")
)
LABEL_NOISES = Setting("words", "fresh", "start noises that get rows of their own beside --noise", STARTS)
PICTURES: Mapping[str, Setting] = {
    "kind": Setting("word", "faces", "what the judges look for in pictures", ("faces", "bodies")),
    "size": Setting("whole", "as the clips are", "height and width of frames as judges see them, in pixels"),
}
RUNS = Setting("whole", "3", "heads fitted a seed; their mean counts")
COUNT = Setting("whole", "all", "test clips scored, and as many samples drawn")
