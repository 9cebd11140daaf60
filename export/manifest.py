"""``export.json``: what an exported folder holds, and how far each graph is from the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.errors import CheckpointError, InputError
from diffsda.firststage.whiten import Whitening
from diffsda.recipe import Recipe

FORMAT = 1
NAME = "export.json"
PARTS = {"prior": ("eps",), "first_stage_encoder": ("latent",), "first_stage_decoder": ("x",)}
"""Graphs beside the model's own that a folder may hold, with their outputs."""


@dataclass(frozen=True)
class Port:
    """An input or output: its name, its axes (a number, or the name of a free axis) and its type."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class Exported:
    """One graph on disk. ``files``: SHA-256 of each of its files by name, the graph's own first.

    ``error`` and ``bound`` are of the kind named by ``measure``; ``measured`` says by what.
    """

    files: dict[str, str]
    bytes: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: dict[str, int]
    error: float
    bound: float
    measure: str
    measured: str

    @property
    def file(self) -> str:
        """The graph's own file."""
        return next(iter(self.files))

    @property
    def digest(self) -> str:
        """The SHA-256 of the graph's own file."""
        return self.files[self.file]


@dataclass(frozen=True)
class Manifest:
    """What an exported folder holds.

    ``prior`` and ``first_stage``: what must be known of them besides their graphs, where there are any.
    """

    recipe: Recipe
    precision: str
    opset: int
    graphs: dict[str, Exported]
    whitening: Whitening | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    prior: dict[str, Any] | None = None
    first_stage: dict[str, Any] | None = None

    def write(self, folder: Path) -> None:
        """Write ``export.json``.

        Raises: SaveError if it cannot be written.
        """
        about = {
            "format": FORMAT,
            "recipe": self.recipe.to_dict(),
            "digest": self.recipe.digest,
            "whitening": None if self.whitening is None else self.whitening.to_dict(),
            "precision": self.precision,
            "opset": self.opset,
            "provenance": self.provenance,
            "versions": self.versions,
            "prior": self.prior,
            "first_stage": self.first_stage,
            "graphs": {name: asdict(graph) for name, graph in self.graphs.items()},
        }
        text = json.dumps(about, indent=1) + "\n"
        atomic_write(folder / NAME, lambda file: file.write(text.encode()))

    def graph(self, folder: Path, graph: str) -> Exported:
        """Return what is known of a graph.

        Raises: InputError if the folder has no such graph.
        """
        if graph not in self.graphs:
            hint = ""
            if graph in PARTS:
                hint = f"; export again with --{'prior' if graph == 'prior' else 'first-stage'}"
            raise InputError(f"{folder}: got no graph {graph!r}, expected one of {', '.join(self.graphs)}{hint}")
        return self.graphs[graph]

    def path(self, folder: Path, graph: str) -> Path:
        """Return the file of a graph, after a look at its digests.

        Raises: InputError if the folder has no such graph; CheckpointError if a file is missing or another one.
        """
        held = self.graph(folder, graph)
        for name, digest in held.files.items():
            if not (folder / name).is_file():
                raise CheckpointError(f"{folder / name}: is missing, expected it beside {NAME}; export again")
            if sha256(folder / name) != digest:
                raise CheckpointError(
                    f"{folder / name}: is not the file that {NAME} names (other SHA-256): it is damaged or of another "
                    "export; export again"
                )
        return folder / held.file


def read(folder: str | Path) -> Manifest:
    """Read a folder's manifest.

    Raises: InputError if there is none; CheckpointError if it cannot be read or is of another format.
    """
    folder = Path(folder)
    path = folder / NAME
    if not path.is_file():
        raise InputError(f"{folder}: got no {NAME}, expected a folder made by `diffsda export`")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about.get("format") != FORMAT:
            raise CheckpointError(f"{path}: got format {about.get('format')!r}, expected {FORMAT}; export again")
        whitening = about["whitening"]
        return Manifest(
            recipe=Recipe.from_dict(about["recipe"]),
            precision=about["precision"],
            opset=about["opset"],
            graphs={name: _graph(plain) for name, plain in about["graphs"].items()},
            whitening=None if whitening is None else Whitening.from_dict(whitening),
            provenance=about["provenance"],
            versions=about["versions"],
            prior=about.get("prior"),
            first_stage=about.get("first_stage"),
        )
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {error}); export again") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _graph(plain: dict[str, Any]) -> Exported:
    for name in plain["files"]:
        if Path(name).name != name:
            raise ValueError(f"a file outside the folder: {name!r}")
    ports = {
        way: tuple(Port(p["name"], tuple(p["shape"]), p["dtype"]) for p in plain[way]) for way in ("inputs", "outputs")
    }
    return Exported(**{**plain, **ports})
