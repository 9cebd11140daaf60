"""Rows of those who fail: they cost themselves, unless they take the device with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffsda.bench.kernel_cases import device_is_lost

Row = dict[str, Any]


def caught(about: Row, make: Callable[[], Row]) -> Row:
    """Return a row with what is made, or with why it failed. Raises: what breaks the device."""
    try:
        return about | make()
    except Exception as reason:
        if device_is_lost(reason):
            raise
        return about | {"failed": in_a_line(reason)}


def in_a_line(reason: Exception) -> str:
    """Return an error's kind and the first line of its words."""
    return f"{type(reason).__name__}: {reason}".splitlines()[0][:300]
