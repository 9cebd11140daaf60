"""Whose weights a file of the authors' code holds, told by its keys, and where they are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from diffsda.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from diffsda.baselines.settings import Settings
    from diffsda.baselines.system import System

OURS = "diffsda"


@dataclass(frozen=True)
class Weights:
    """Weights of one system: beginnings of keys that it has and no other has all of, and the module that reads them."""

    keys: tuple[str, ...]
    reader: str


_DBSE, _SPYL = "diffsda.baselines.dbse.authors", "diffsda.baselines.spyl.authors"
# Readers of other systems are above this floor: they are only named here.
SYSTEMS: Mapping[str, Weights] = {
    OURS: Weights(("backbone.",), "diffsda.authors"),
    "dbse-video": Weights(("encoder.c", "z_prior_mean."), _DBSE),
    "dbse-audio": Weights(("z_lstm_encoder.", "z_prior_mean."), _DBSE),
    "dbse-series": Weights(("encoder.fc.", "z_prior_mean."), _DBSE),
    "spyl": Weights(("encoder.c", "d_prior_mean."), _SPYL),
}
"""System: its weights. DiViD has none: its authors released no code."""


def system_of(keys: Collection[str], path: str | Path, system: str | None = None) -> str:
    """Return the system that the weights under these keys are of; ``system``, where given, is taken at its word.

    Raises: CheckpointError if no system has such keys; InputError for an unknown system, and where several have them.
    """
    if system is not None:
        if system not in SYSTEMS:
            why = "; no weights of divid are public, its authors released no code" if system == "divid" else ""
            raise InputError(f"system: got {system!r}, expected one of {', '.join(SYSTEMS)}{why}")
        return system
    found = [
        name
        for name, weights in SYSTEMS.items()
        if all(any(key.startswith(start) for key in keys) for start in weights.keys)
    ]
    if not found:
        first = ", ".join(list(keys)[:5]) or "none"
        known = "; ".join(
            f"{name} (expected keys such as {', '.join(f'{s}*' for s in w.keys)})" for name, w in SYSTEMS.items()
        )
        raise CheckpointError(f"{path}: got tensors of no known system (it begins with {first}), known are {known}")
    if len(found) > 1:
        raise InputError(f"{path}: got keys of {' and of '.join(found)}, say which with system=")
    return found[0]


def network_and_settings(
    tensors: Mapping[str, Tensor], path: str | Path, system: str, settings: Any = None, as_published: bool | None = None
) -> tuple[System, Settings]:
    """Return the network of another system with these weights, and the settings it was built from.

    ``settings``: the system's own, a recipe that has them, the name of published ones, or None.
    Raises: CheckpointError for tensors that make no such network; InputError for unusable settings.
    """
    reader = import_module(SYSTEMS[system].reader)
    network: Any = reader.from_tensors(
        tensors, path, getattr(settings, "settings", settings), system=system, as_published=as_published
    )
    return network, network.settings
