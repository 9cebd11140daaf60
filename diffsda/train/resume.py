"""The state of a training run, complete in one file, and going on from it exactly."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Protocol

import torch

from diffsda.atomic import atomic_write
from diffsda.errors import CheckpointError, InputError

FORMAT = 1
FILE = "state.pt"


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a run; the old one stays until the new one is complete.

    Raises: SaveError if it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    atomic_write(folder / FILE, lambda file: file.write(buffer.getbuffer()))


class Settings(Protocol):
    """What decides a training: a recipe, or another table with a digest."""

    @property
    def digest(self) -> str:
        """Change with any value."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data."""
        ...


def read_state(folder: Path, recipe: Settings) -> dict[str, Any]:
    """Read the state of a run that this recipe began.

    Raises: InputError if there is none, or it is another recipe's (the first differing setting is named);
    CheckpointError if the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected the state of a run to resume; leave out --resume to begin")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A broken file can fail in any way the unpickler knows; all mean the same.
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}), expected the state of a run") from None
    if not isinstance(state, dict) or "format" not in state:
        raise CheckpointError(f"{path}: got something else, expected the state of a run")
    if state["format"] != FORMAT:
        raise CheckpointError(f"{path}: got format {state['format']!r}, expected {FORMAT}")
    if state["digest"] != recipe.digest:
        difference = _difference(state["recipe"], recipe.to_dict())
        raise InputError(f"{path}: the run was begun with another recipe: {difference}")
    return state


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    for part, value in new.items():
        if isinstance(value, dict):
            for name, now in value.items():
                was = old.get(part, {}).get(name)
                if was != now:
                    return f"{part}.{name} was {was!r}, now {now!r}; use the same settings or a new folder"
    return "settings differ; use the same or a new folder"
