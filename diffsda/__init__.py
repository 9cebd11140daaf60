"""DiffSDA: take sequences apart into one static and many dynamic factors, with one diffusion loss.

``import diffsda`` is cheap: torch is imported when the first name that needs it is used.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from pathlib import Path as _Path
from typing import Any

__version__ = "0.1.0"

# In a source checkout the sub-packages live beside this folder (kernels/, export/, data/, bench/); an
# installed wheel holds them inside it. Extending __path__ makes `import diffsda.kernels` work in both.
_root = _Path(__file__).resolve().parent.parent
if (_root / "setup.py").is_file() and (_root / "kernels" / "__init__.py").is_file():
    __path__.append(str(_root))

_WHERE = {
    "load": "diffsda.checkpoint",
    "save": "diffsda.checkpoint",
    "load_authors": "diffsda.authors",
    "load_prior": "diffsda.prior.file",
    "load_first_stage": "diffsda.firststage.files",
    "DiffSDA": "diffsda.model",
    "Session": "diffsda.inference",
    "Execution": "diffsda.inference",
    "Factors": "diffsda.factors",
    "Recipe": "diffsda.recipe",
    "Whitening": "diffsda.firststage.whiten",
    "preset": "diffsda.presets",
}
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    """Import a public name the first time it is used (PEP 562)."""
    if name in _WHERE:
        return getattr(_import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'diffsda' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
