"""Presets: one recipe a row of the paper's Tables 6 and 7, the released variants, and small ones of ours."""

from __future__ import annotations

import difflib

from diffsda.errors import InputError
from diffsda.presets import audio, demo, real, series, video
from diffsda.recipe import Recipe

PRESETS: dict[str, Recipe] = {
    recipe.name: recipe for part in (video, audio, series, demo, real) for recipe in part.PRESETS
}


def preset(name: str) -> Recipe:
    """Return the preset of that name.

    Raises: InputError for an unknown name, with the nearest known one.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, 1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"preset: got {name!r}; {hint}expected one of {', '.join(PRESETS)}")
