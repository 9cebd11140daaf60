"""Settings of a system: frozen plain data, checked when made, to and from JSON."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from diffsda.errors import InputError

MOST_WIDTH = 65_536
"""Settings come out of strangers' files too: no layer is wider than this."""
_MOST_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides a system's networks and loss.

    A subclass adds fields of kind int, float, bool, str or Literal, or None beside one of them, or tuple of one of
    them, and says in ``limits`` which numbers are bounded, and how: name -> (least, most). Numbers must be finite.
    Raises: InputError for a value of another kind or outside its limits.
    """

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {}

    as_published: bool = False
    """Compute what the released code computes, its slips included."""

    def __post_init__(self) -> None:
        cls: Any = type(self)
        for name, kind in _kinds(cls).items():
            value = getattr(self, name)
            if not any(_is(value, k) for k in _alternatives(kind)):
                raise InputError(f"{name}: got {_shown(value)}, expected {_words(kind)}")
            least, most = self.limits.get(name, (-math.inf, math.inf))
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(v, (int, float)) and not least <= v <= most for v in numbers):
                raise InputError(f"{name}: got {_shown(value)}, expected {least:g} to {most:g}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Any) -> Self:
        """Read what ``to_dict`` wrote; names left out take their defaults.

        Raises: InputError for unknown names and unusable values.
        """
        if not isinstance(plain, dict):
            raise InputError(f"settings: got {type(plain).__name__}, expected a table of settings")
        names = [f.name for f in dataclasses.fields(cls)]
        for name in plain:
            if name not in names:
                near = difflib.get_close_matches(str(name), names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InputError(f"settings: unknown name {name!r}, expected one of {', '.join(names)}{hint}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with changes."""
        return dataclasses.replace(self, **changes)


@functools.cache
def _kinds(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return (kind,) if get_origin(kind) in (Literal, tuple) or not get_args(kind) else get_args(kind)


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is(v, get_args(kind)[0]) for v in value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # A whole number that no float can hold.
        return False


def _shown(value: Any) -> str:
    """Write a value out, cut short where it fills more than a line."""
    text = repr(value)
    return text if len(text) < _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _words(kind: Any) -> str:
    plain = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}
    words = []
    for k in _alternatives(kind):
        inner = get_args(k)
        if get_origin(k) is Literal:
            words.append(f"one of {', '.join(inner)}")
        elif get_origin(k) is tuple:
            words.append(f"a list, each {plain[inner[0]]}")
        else:
            words.append(plain[k])
    return " or ".join(words)
