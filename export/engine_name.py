"""The name of an engine file, the description beside it, and whether an engine on disk can be used here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsda.errors import InputError
from diffsda.export import manifest
from diffsda.export.manifest import sha256
from diffsda.export.tensorrt import Library

PRECISIONS = ("float32", "bf16", "fp16")
REBUILD = "build it again with --rebuild (rebuild=True)"
ANY = "any"
"""The architecture of an engine that TensorRT-RTX built for every GPU it supports."""

FORMAT = 1
_NAME = re.compile(
    r"(?P<graph>[a-z][a-z_]*)-(?P<tile>\d+x\d+|\d+)-(?P<precision>float32|bf16|fp16)-"
    r"(?P<architecture>sm\d+|any)-(?P<library>(?:trt|rtx)\d[\w.]*)-(?P<digest>[0-9a-f]{12})\.engine"
)


@dataclass(frozen=True)
class Tile:
    """What an engine takes at once: clips of a number of frames, and noise levels for the graph that has them."""

    clips: int
    frames: int
    levels: int | None = None

    def __post_init__(self) -> None:
        for name in ("clips", "frames", "levels"):
            value = getattr(self, name)
            if not (value is None and name == "levels") and (type(value) is not int or value < 1):
                raise InputError(f"{name} of a tile: got {value!r}, expected a whole number of at least 1")

    def label(self, graph: str) -> str:
        """Return the part of a file name that says this: 4x10, or the levels alone for the table of noise levels."""
        return str(self.levels) if graph == "noise_table" else f"{self.clips}x{self.frames}"

    def size(self, axis: str | None) -> int | None:
        """Return the length of a free axis by its name, or None for one that this does not settle.

        Axes: clips; length, the frames of one clip; frames, those of all clips; levels.
        """
        rows = self.clips * self.frames
        return {"clips": self.clips, "length": self.frames, "frames": rows, "levels": self.levels}.get(axis or "")


@dataclass(frozen=True)
class EngineName:
    """What an engine was built from and for, as its file name says it.

    ``digest``: the first 12 hex digits of a SHA-256 over the SHA-256 of the ONNX file and of its data files.
    """

    graph: str
    tile: str
    precision: str
    architecture: str
    library: str
    digest: str

    def __str__(self) -> str:
        parts = (self.graph, self.tile, self.precision, self.architecture, self.library, self.digest)
        return "-".join(parts) + ".engine"

    @classmethod
    def parse(cls, name: str) -> EngineName | None:
        """Read a file name; None for one that is not of this kind."""
        found = _NAME.fullmatch(name)
        return cls(**found.groupdict()) if found else None


@dataclass(frozen=True)
class Here:
    """What an engine must fit to run: the architecture of the GPU (None: there is none) and the TensorRT."""

    architecture: str | None
    library: str

    @classmethod
    def of(cls, library: Library, architecture: str | None = None) -> Here:
        """Return this machine's; an architecture such as sm90 names another one."""
        return cls(architecture or device_architecture(), library.label)


def device_architecture() -> str | None:
    """Return the architecture of the current GPU, such as sm90, or None where there is none."""
    import torch

    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"sm{major}{minor}"


def graph_of(folder: Path, graph: str) -> tuple[Path, str]:
    """Return the ONNX file of a graph in an exported folder, and the digest of its files by which engines know it.

    Raises: InputError for a folder that is no exported model and for a graph it does not hold; CheckpointError for
    files that are damaged or of another export.
    """
    held = manifest.read(folder)
    path = held.path(folder, graph)
    files = "".join(f"{name} {digest}\n" for name, digest in held.graphs[graph].files.items())
    return path, hashlib.sha256(files.encode()).hexdigest()


def beside(engine: Path, kind: str) -> Path:
    """Return the file that goes with an engine: its description (json) or what the builder said (log)."""
    return engine.with_name(f"{engine.name}.{kind}")


def description(engine: Path) -> dict[str, Any]:
    """Return what the JSON beside an engine says, having checked that it speaks of this very file.

    Raises: InputError for an engine that is missing, foreign, truncated or damaged.
    """
    name = EngineName.parse(engine.name)
    if name is None:
        example = EngineName("network", "4x10", "bf16", "sm90", "trt11.4.0.106", "0123456789ab")
        raise InputError(f"{engine.name}: got a file of another kind, expected an engine with a name such as {example}")
    if not engine.is_file():
        raise InputError(f"{engine}: there is no such engine; build it")
    try:
        found = json.loads(beside(engine, "json").read_text(encoding="utf-8"))
        size, digest = int(found["engine"]["bytes"]), str(found["engine"]["sha256"])
        other = found["format"] != FORMAT or found["name"] != engine.name
        found["options"]["version_compatible"], found["tile"]["clips"], found["inputs"], found["outputs"]
    except FileNotFoundError:
        raise InputError(f"{engine.name}: has no description {engine.name}.json beside it; {REBUILD}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{engine.name}: its description {engine.name}.json is damaged; {REBUILD}") from None
    if other:
        raise InputError(f"{engine.name}: its description is of another engine or version of this program; {REBUILD}")
    given = engine.stat().st_size
    if given != size:
        raise InputError(f"{engine.name}: got {given} bytes, expected {size} (truncated?); {REBUILD}")
    if sha256(engine) != digest:
        raise InputError(f"{engine.name}: its bytes are not those that were built (damaged?); {REBUILD}")
    return found


def check_engine(engine: Path, here: Here, digest: str | None = None) -> dict[str, Any]:
    """Return the description of an engine that is whole and fits here, and the ONNX file of ``digest`` if given.

    Raises: InputError, by name and with what to do, for a truncated, foreign or stale engine.
    """
    found = description(engine)
    name = EngineName.parse(engine.name)
    assert name is not None  # description() has seen to it.
    if digest is not None and found.get("onnx") != digest:
        raise InputError(
            f"{engine.name}: is stale, built from an ONNX file {name.digest}, got {digest[:12]} now; {REBUILD}"
        )
    if name.library != here.library and not _reads(here.library, name.library, found):
        raise InputError(f"{engine.name}: was built by {name.library}, got {here.library} here; {REBUILD}")
    if name.architecture not in (ANY, here.architecture):
        got = f"a GPU of {here.architecture}" if here.architecture else "no GPU"
        raise InputError(f"{engine.name}: was built for {name.architecture}, got {got} here; {REBUILD} on this machine")
    return found


def tile_of_engines(folder: Path, graphs: Sequence[str], *, frames: int | None = None) -> Tile:
    """Return the tile of most clips, of at most so many ``frames`` in all, of which all ``graphs`` have engines.

    Raises: InputError if there is none; what ``manifest.read`` raises.
    """
    manifest.read(folder)
    labels = []
    for graph in graphs:
        names = [EngineName.parse(path.name) for path in (folder / "engines").glob("*.engine")]
        labels.append({name.tile for name in names if name is not None and name.graph == graph})
    tiles = [Tile(*map(int, label.split("x"))) for label in set.intersection(*labels)]
    fitting = [tile for tile in tiles if frames is None or tile.clips * tile.frames <= frames]
    if not fitting:
        there = f"; there are those of {', '.join(sorted(set.union(*labels)))}" if any(labels) else ""
        size = "" if frames is None else f" for at most {frames} frames"
        raise InputError(
            f"runtime: got tensorrt, but {folder / 'engines'} holds no engines of {' and '.join(graphs)}{size}{there}; "
            f"build them with `diffsda export {folder} --to tensorrt`"
        )
    return max(fitting, key=lambda tile: (tile.clips, tile.frames))


def find_engine(
    folder: Path, graph: str, tile: Tile, here: Here, *, engines: Path | None = None, precision: str | None = None
) -> Path:
    """Return the engine of a graph and tile that fits the exported folder and this machine.

    ``engines``: where engines are, ``engines`` inside the folder unless said otherwise. ``precision``: only this one.
    Raises: InputError, naming each engine there is and why it does not fit, where none does; what ``graph_of`` raises.
    """
    if precision is not None and precision not in PRECISIONS:
        raise InputError(f"precision: got {precision!r}, expected {', '.join(PRECISIONS)}")
    _, digest = graph_of(folder, graph)
    place = engines or folder / "engines"
    refused = []
    for path in sorted(place.glob("*.engine")):
        name = EngineName.parse(path.name)
        if name is None or (name.graph, name.tile) != (graph, tile.label(graph)):
            continue
        if precision is not None and name.precision != precision:
            continue
        try:
            check_engine(path, here, digest)
        except InputError as error:
            refused.append(str(error))
            continue
        return path
    if refused:
        raise InputError("; also ".join(refused[:3]))
    raise InputError(f"{place}: has no engine of {graph} for a tile of {tile.label(graph)}; build it")


def _reads(here: str, built: str, found: dict[str, Any]) -> bool:
    """Whether the library here reads an engine of another version: of its major version, built for that, not newer."""
    if not found["options"]["version_compatible"] or here[:3] != built[:3]:
        return False
    ours, theirs = ([int(n) for n in re.findall(r"\d+", label[3:])] for label in (here, built))
    return ours[0] == theirs[0] and ours >= theirs
