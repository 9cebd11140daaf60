"""diffsda describe: what a model file holds, read without torch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from diffsda.cli.options import parse
from diffsda.errors import CheckpointError
from diffsda.header import newest, read_header


@dataclass(frozen=True, kw_only=True)
class Options:
    """Say what a model file holds."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model file, a run folder, or an exported folder."""
    json: bool = False
    """Print JSON."""


def run(argv: list[str]) -> int:
    """Print the recipe, sizes and origin of a model file."""
    options = parse(Options, argv, "describe", "Say what a model file holds.")
    about = describe(Path(options.path))
    if options.json:
        print(json.dumps(about))
        return 0
    for name, value in about.items():
        if not isinstance(value, dict):
            print(f"{name:<12} {_shown(value)}")
            continue
        print(name)
        for key, inner in value.items():
            if isinstance(inner, list) and inner and isinstance(inner[0], float):
                inner = ", ".join(f"{v:.4g}" for v in inner)
            if isinstance(inner, dict):
                inner = ", ".join(f"{k} {v}" for k, v in inner.items())
            print(f"  {_shown(key):<12} {_shown(inner)}")
    return 0


KINDS = {
    "recipe": ("digest", "recipe", "whitening"),
    "prior": ("digest", "prior", "sizes", "model"),
    "first_stage": ("digest", "first_stage"),
}
"""What tells a model's file, a prior's and a first stage's from each other, and what is shown of each."""


def describe(path: Path) -> dict[str, Any]:
    """Return what a file with a model, a prior or a first stage says about itself, an export, or a prepared folder.

    Raises: CheckpointError for a damaged file, or one this program did not write.
    """
    if (path / "export.json").is_file():
        return _exported(path)
    if (path / "dataset.json").is_file():
        from diffsda.data.prepared import Dataset

        return {"folder": str(path), **dataclasses.asdict(Dataset.read(path))}
    path = newest(path)
    header = read_header(path)
    ours = header.ours() or {}
    kind = next((name for name in KINDS if name in ours), None)
    what = next((names for name, names in KINDS.items() if name in ours), None)
    if what is None:
        raise CheckpointError(f"{path}: got a safetensors file without a recipe, expected one saved by this program")
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "tensors": len(header.tensors),
        "values": header.parameters,
        **(_system(ours["recipe"], header.tensors) if kind == "recipe" else {}),
        **{name: ours.get(name) for name in what},
        "provenance": ours.get("provenance", {}),
    }


CANNOT = {
    "divid": {
        "sample_static": "its paper gives it no prior over static codes",
        "sample_dynamic": "its paper gives it no prior over dynamic codes",
    }
}
"""What a system says it cannot do, task -> why, written out again, since its file needs torch."""
STATISTICS = ("running_mean", "running_var", "num_batches_tracked", ".freqs")
"""What names of tensors end with that are measured or given, not trained."""


def _system(recipe: Any, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, Any]:
    """Return the system of a model, its parameters, and, of another than ours, what it cannot do."""
    name = recipe.get("system", "diffsda") if isinstance(recipe, dict) else "diffsda"
    trained = [shape for key, (_, shape) in tensors.items() if not key.endswith(STATISTICS)]
    about: dict[str, Any] = {"system": name, "parameters": sum(math.prod(shape) for shape in trained)}
    if name != "diffsda":
        ours = dict.fromkeys(("export", "bench"), "for diffsda alone")
        about["cannot"] = {**CANNOT.get(name, {}), **ours} if isinstance(name, str) else ours
    return about


def _exported(folder: Path) -> dict[str, Any]:
    from diffsda.export.manifest import read

    held = read(folder)
    return {
        "folder": str(folder),
        "bytes": sum(graph.bytes for graph in held.graphs.values()),
        "precision": held.precision,
        "opset": held.opset,
        "graphs": {
            graph.file: {"in": " ".join(p.name for p in graph.inputs), "out": " ".join(p.name for p in graph.outputs)}
            for graph in held.graphs.values()
        },
        "digest": held.recipe.digest,
        "recipe": held.recipe.to_dict(),
        "whitening": None if held.whitening is None else held.whitening.to_dict(),
        "provenance": {**held.provenance, "versions": held.versions},
    }


def _shown(value: object) -> str:
    """Return text fit for a terminal; a stranger's file may hold anything."""
    return "".join(c if c.isprintable() else "?" for c in str(value))
