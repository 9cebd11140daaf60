"""The other systems by name: network and settings, as module and class, imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.baselines.settings import Settings
    from diffsda.baselines.system import System

SYSTEMS = {
    "dbse-video": ("dbse.video:VideoDBSE", "dbse.settings:VideoSettings"),
    "dbse-audio": ("dbse.audio:AudioDBSE", "dbse.settings:AudioSettings"),
    "dbse-series": ("dbse.series:SeriesDBSE", "dbse.settings:SeriesSettings"),
    "spyl": ("spyl.model:SPYL", "spyl.settings:SPYLSettings"),
    "divid": ("divid.model:DiViD", "divid.settings:DiViDSettings"),
}
"""System: its network and its settings."""


def settings_of(system: Any) -> type[Settings]:
    """Return the class of a system's settings.

    Raises: InputError for an unknown system.
    """
    kind: type[Settings] = _find(system, 1)
    return kind


def network_of(system: str, settings: Settings) -> System:
    """Return a new network of a system.

    Raises: InputError for an unknown system.
    """
    network: System = _find(system, 0)(settings)
    return network


def _find(system: Any, place: int) -> Any:
    if not isinstance(system, str) or system not in SYSTEMS:
        raise InputError(f"system: got {system!r}, expected one of {', '.join(SYSTEMS)}")
    module, name = SYSTEMS[system][place].split(":")
    return getattr(import_module(f"diffsda.baselines.{module}"), name)
