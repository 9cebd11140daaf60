"""A protocol's own settings: what was asked for, checked, beside what is usual."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from diffsda.errors import InputError


def settings(asked: Mapping[str, Any], **usual: Any) -> dict[str, Any]:
    """Return the usual settings with what was asked for in their place.

    A usual whole number takes whole numbers from 1 on, a float positive numbers, True and False each other, a word
    words; one that is usually left open (None) takes whole numbers too.
    Raises: InputError for a setting there is none of, a near one is suggested; and for a value of another kind.
    """
    for name, value in asked.items():
        if name not in usual:
            near = difflib.get_close_matches(name, usual, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"setting: got {name!r}, expected one of {', '.join(usual)}{hint}")
        if expected := _wrong(value, usual[name]):
            raise InputError(f"setting {name}: got {value!r}, expected {expected}")
    return usual | dict(asked)


def _wrong(value: Any, usual: Any) -> str:
    """Say what a value is expected to be, or nothing if it is."""
    truth = isinstance(value, bool)
    if isinstance(usual, bool):
        return "" if truth else "true or false"
    if usual is None or isinstance(usual, int):
        return "" if isinstance(value, int) and not truth and value >= 1 else "a whole number from 1 on"
    if isinstance(usual, float):
        return "" if isinstance(value, int | float) and not truth and 0 < value < 1e9 else "a positive number"
    return "" if isinstance(value, str) and value else "a word"
