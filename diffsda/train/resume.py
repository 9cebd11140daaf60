"""The state of a training run, complete in one file, and going on from it exactly."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from diffsda.atomic import atomic_write
from diffsda.errors import CheckpointError, InputError
from diffsda.recipe import Recipe

FORMAT = 1
FILE = "state.pt"


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a run; the old one stays until the new one is complete.

    Raises: SaveError if it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    atomic_write(folder / FILE, lambda file: file.write(buffer.getbuffer()))


def read_state(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Read the state of a run that this recipe began.

    Raises: InputError if there is none, or it is another recipe's (the first differing setting is named);
    CheckpointError if the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected the state of a run to resume; leave out --resume to begin")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        digest, held = state["digest"], state["recipe"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}), expected the state of a run") from None
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: got format {state.get('format')!r}, expected {FORMAT}")
    if digest != recipe.digest:
        raise InputError(f"{path}: the run was begun with another recipe: {_difference(held, recipe.to_dict())}")
    return state


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    for part, value in new.items():
        if isinstance(value, dict):
            for name, now in value.items():
                was = old.get(part, {}).get(name)
                if was != now:
                    return f"{part}.{name} was {was!r}, now {now!r}; use the same settings or a new folder"
    return "settings differ; use the same or a new folder"
