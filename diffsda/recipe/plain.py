"""Settings as plain data, fit for JSON, and back."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from diffsda.errors import InputError


def plain(value: Any) -> Any:
    """Return nested plain data; infinity is written as the string 'inf'."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value


def build(kind: type, given: Any, where: str, parts: Mapping[str, type] | None = None) -> Any:
    """Return what ``plain`` was made of: a dataclass, with those of ``parts`` inside it.

    Raises: InputError for unknown names (with the nearest known one), and what cannot be built.
    """
    if not isinstance(given, dict):
        raise InputError(f"{where}: got {type(given).__name__}, expected a table of settings")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{where}: unknown setting {name!r}, expected one of {', '.join(fields)}{hint}")
    values: dict[str, Any] = {}
    for name, value in given.items():
        if parts is not None and name in parts:
            value = build(parts[name], value, f"{where}.{name}")
        elif isinstance(value, list):
            value = tuple(value)
        elif value in ("inf", "-inf"):
            value = float(value)
        values[name] = value
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from None


def digest(values: dict[str, Any]) -> str:
    """Return twelve hex digits that change with any value but the name."""
    named = {k: v for k, v in values.items() if k != "name"}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:12]


def replaced(recipe: Any, parts: Mapping[str, Any]) -> Any:
    """Return a copy of a recipe with changes; a dictionary changes some values of a part."""
    new: dict[str, Any] = {}
    for name, value in parts.items():
        old = getattr(recipe, name)
        if dataclasses.is_dataclass(old) and isinstance(value, dict):
            value = dataclasses.replace(old, **value)  # type: ignore[type-var]
        new[name] = value
    return dataclasses.replace(recipe, **new)
