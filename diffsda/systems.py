"""The systems there are, ours and others, by name: their recipes, models and presets, loaded when asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffsda.errors import InputError
from diffsda.firststage.whiten import Whitening
from diffsda.recipe import AnyRecipe

if TYPE_CHECKING:
    from diffsda.trainable import Trainable

# Where recipe and model of each are, as module and name; what is above this floor is only named here.
_OURS = ("diffsda.recipe:Recipe", "diffsda.model:DiffSDA")
_OTHERS = ("diffsda.baselines.recipe:SystemRecipe", "diffsda.baselines.model:Baseline")
SYSTEMS: dict[str, tuple[str, str]] = {
    "diffsda": _OURS,
    **dict.fromkeys(("dbse-video", "dbse-audio", "dbse-series", "spyl", "divid"), _OTHERS),
}
"""System: where its recipe and its model are."""
PRESETS = ("diffsda.presets:PRESETS", "diffsda.baselines.presets:PRESETS")
"""Where recipes are kept by name."""


def recipe_from_dict(plain: Any) -> AnyRecipe:
    """Read what the ``to_dict`` of any system's recipe wrote; without a system named, it is DiffSDA's.

    Raises: InputError for an unknown system, unknown names and unusable values.
    """
    if not isinstance(plain, dict):
        raise InputError(f"recipe: got {type(plain).__name__}, expected a table of settings")
    name = plain.get("system", "diffsda")
    recipe, _ = _of(name)
    rest = {k: v for k, v in plain.items() if k != "system"} if name == "diffsda" else plain
    out: AnyRecipe = _find(recipe).from_dict(rest)
    return out


def build(recipe: AnyRecipe, whitening: Whitening | None = None) -> Trainable:
    """Return a new model of a recipe's system.

    Raises: InputError for a recipe the system cannot have.
    """
    _, model = _of(recipe.system)
    out: Trainable = _find(model)(recipe, whitening)
    return out


def presets() -> Iterator[tuple[str, AnyRecipe]]:
    """Yield the presets of all systems by name, DiffSDA's first."""
    for where in PRESETS:
        yield from _find(where).items()


def preset(name: str) -> AnyRecipe:
    """Return the preset of that name, of any system.

    Raises: InputError for an unknown name, with the nearest known one.
    """
    known = dict(presets())
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"preset: got {name!r}; {hint}expected one of {listed()}")


def listed() -> str:
    """Return the names of all presets in one line, by system."""
    groups: dict[str, list[str]] = {}
    for name, recipe in presets():
        groups.setdefault(recipe.system, []).append(name)
    return "; ".join(f"{', '.join(names)} ({system})" for system, names in groups.items())


def _of(name: Any) -> tuple[str, str]:
    if not isinstance(name, str) or name not in SYSTEMS:
        raise InputError(f"system: got {name!r}, expected one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name]


def _find(where: str) -> Any:
    module, name = where.split(":")
    return getattr(import_module(module), name)
