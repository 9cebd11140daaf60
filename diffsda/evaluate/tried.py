"""A value, or why there is none."""

from __future__ import annotations

from collections.abc import Callable

from diffsda.errors import InputError, MissingPackage
from diffsda.evaluate.result import NAN


def tried(measure: Callable[[], float]) -> tuple[float, str]:
    """Return what is measured and no reason, or NaN and why it is undefined or its judge missing."""
    try:
        return measure(), ""
    except (InputError, MissingPackage) as error:
        return NAN, str(error)
