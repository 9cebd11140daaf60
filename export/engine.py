"""TensorRT engines from the ONNX files of an exported folder: one static engine a tile.

Precision comes from the types in the ONNX file, since networks are strongly typed; nothing is cast here. Tiles are
static because a changed shape costs a running engine more than a call, and a CUDA graph needs fixed ones.
Experimental: engines are built in tests (by TensorRT-RTX, without a GPU), but none has run on a GPU yet.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.errors import DiffSDAError, InputError, SaveError
from diffsda.export import manifest
from diffsda.export.engine_name import (
    FORMAT,
    EngineName,
    Tile,
    beside,
    description,
    graph_of,
)
from diffsda.export.engine_plan import BuildOptions, parse, serialize, target
from diffsda.export.manifest import sha256
from diffsda.export.tensorrt import Build, Library, Progress, load

GRAPHS = ("encoder", "network", "denoise")
"""What engines are built of unless said otherwise, beside a prior and a first stage that are there; the tables are two
matrix products a sample."""
CLIPS = (1, 4, 16)
"""Clips in a tile, one engine each."""
USUAL = BuildOptions()
"""How engines are built unless said otherwise."""


@dataclass(frozen=True)
class Built:
    """An engine on disk. ``reused``: it was there. ``normalizations``: native NORMALIZATION layers of the network."""

    path: Path
    reused: bool
    seconds: float
    bytes: int
    layers: int
    normalizations: int


def build_engines(
    folder: Path,
    *,
    graphs: Sequence[str] | None = None,
    clips: Sequence[int] = CLIPS,
    frames: int | None = None,
    levels: int | None = None,
    out: Path | None = None,
    options: BuildOptions = USUAL,
    rebuild: bool = False,
    progress: Progress | None = None,
    library: Library | None = None,
) -> list[Built]:
    """Build an engine of each graph for each tile; those that are there and fit are kept.

    ``graphs``: left open, ``buildable``. ``frames``: of a clip; left open, those of the recipe in export.json. The rest
    is as for ``build_engine``.
    Raises: InputError for tiles and graphs that cannot be; what ``build_engine`` raises.
    """
    graphs = buildable(folder) if graphs is None else graphs
    if not graphs or not clips:
        raise InputError("engines: got no graph or no tile, expected at least one of each")
    sources = {graph: graph_of(folder, graph) for graph in graphs}
    frames = frames if frames is not None else frames_of(folder)
    library = library or load()
    place = out or folder / "engines"
    return [
        _build(graph, source, Tile(count, frames, levels), place, options, rebuild, progress, library)
        for graph, source in sources.items()
        for count in clips
    ]


def build_engine(
    folder: Path,
    graph: str,
    tile: Tile,
    *,
    out: Path | None = None,
    options: BuildOptions = USUAL,
    rebuild: bool = False,
    progress: Progress | None = None,
    library: Library | None = None,
) -> Built:
    """Build the engine of ``folder/graph.onnx`` for a tile, or keep the one that is there and fits.

    Writes the engine, a description (.json) and the builder's log (.log) into ``out``, left open ``folder/engines``,
    each whole or not at all; a failed build leaves its log (.failed.log) alone. An engine of that name that is damaged
    or was built with other options, or one of an older ONNX file, is refused; ``rebuild`` replaces it.
    Raises: MissingPackage without TensorRT; InputError for graphs, tiles and engines as above and for ONNX files that
    TensorRT's parser refuses (with the nodes); CheckpointError for ONNX files that are damaged; DiffSDAError for a
    failed build; SaveError where writing fails.
    """
    place = out or folder / "engines"
    return _build(graph, graph_of(folder, graph), tile, place, options, rebuild, progress, library or load())


def _build(
    graph: str,
    source: tuple[Path, str],
    tile: Tile,
    place: Path,
    options: BuildOptions,
    rebuild: bool,
    progress: Progress | None,
    library: Library,
) -> Built:
    """Build an engine of a graph; ``source``: its ONNX file and the digest of that, as ``graph_of`` gives them."""
    onnx, digest = source
    architecture = target(library, options)
    build = Build(library, progress, verbose=options.verbose)
    parsed = parse(library, build, onnx, tile)
    build.say(f"{parsed.layers} layers, {parsed.normalizations} of them native normalizations")
    name = EngineName(graph, tile.label(graph), parsed.precision, architecture, library.label, digest[:12])
    path = place / str(name)
    replaced = _in_the_way(path, name, options, rebuild)
    if path.is_file() and path not in replaced:
        return Built(path, True, 0.0, path.stat().st_size, parsed.layers, parsed.normalizations)
    _make_folder(place)
    # TensorRT-RTX times nothing: it compiles kernels where the engine runs.
    timed = options.timing_cache and not library.rtx
    began = time.monotonic()
    plan = serialize(parsed, build, options, place / f"timing-{architecture}-{library.label}.cache" if timed else None)
    seconds = time.monotonic() - began
    if plan is None:
        # Another name than that of a good build: an engine that is to be replaced keeps its own.
        log = beside(path, "failed.log")
        with suppress(DiffSDAError):
            atomic_write(log, lambda file: file.write(build.text().encode()))
        raise DiffSDAError(f"{path.name}: the build failed ({build.why()}); its log is {log}")
    about = {
        "graph": graph,
        "tile": asdict(tile),
        "precision": name.precision,
        "architecture": architecture,
        "library": library.label,
        "onnx": digest,
        "options": options.kept(),
        "layers": parsed.layers,
        "normalizations": parsed.normalizations,
        "inputs": parsed.shapes,
        "outputs": parsed.outputs(),
        "seconds": round(seconds, 3),
    }
    _keep(path, plan, about, build)
    for old in replaced:
        if old != path:
            remove(old)
    return Built(path, False, seconds, int(plan.nbytes), parsed.layers, parsed.normalizations)


def remove(engine: Path) -> None:
    """Remove an engine with its description and logs; what is missing is no error."""
    for path in (engine, *(beside(engine, kind) for kind in ("json", "log", "failed.log"))):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def buildable(folder: Path) -> tuple[str, ...]:
    """Return the graphs of an exported folder that engines are built of unless said otherwise."""
    held = manifest.read(folder).graphs
    return (*GRAPHS, *(graph for graph in manifest.PARTS if graph in held))


def frames_of(folder: Path) -> int:
    """Return the frames of a clip that an exported folder's recipe names.

    Raises: InputError if it leaves them open.
    """
    frames = manifest.read(folder).recipe.clips.frames
    if frames is None:
        raise InputError(f"frames: got none, and {folder}'s recipe leaves them open; say how many a clip has")
    return frames


def _in_the_way(path: Path, name: EngineName, options: BuildOptions, rebuild: bool) -> list[Path]:
    """Return the engines that this one replaces: of its name but unfit, or of other ONNX files.

    Raises: InputError if there are any and no rebuild was asked for.
    """
    unfit: dict[Path, str] = {}
    for other in sorted(path.parent.glob("*.engine")) if path.parent.is_dir() else []:
        theirs = EngineName.parse(other.name)
        if other.name == path.name:
            reason = _unfit(other, options)
            if reason or rebuild:
                unfit[other] = reason
        elif theirs and EngineName(**{**vars(theirs), "digest": name.digest}) == name:
            unfit[other] = f"{other.name}: is stale, built from an ONNX file {theirs.digest}, got {name.digest} now"
    if unfit and not rebuild:
        reason = next(iter(unfit.values())).partition("; build it again")[0]
        raise InputError(f"{reason}; --rebuild (rebuild=True) replaces it, or remove it")
    return list(unfit)


def _unfit(engine: Path, options: BuildOptions) -> str:
    try:
        found = description(engine)
    except InputError as error:
        return str(error)
    return "" if found["options"] == options.kept() else f"{engine.name}: was built with other options"


def _make_folder(place: Path) -> None:
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise SaveError(f"{place}: could not be made ({error.strerror})") from error


def _keep(path: Path, plan: Any, about: dict[str, Any], build: Build) -> None:
    """Write engine, description and log, all or none; until the engine is on disk one that was there stays."""
    atomic_write(path, lambda file: file.write(memoryview(plan)))
    try:
        engine = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        whole = {"format": FORMAT, "name": path.name, "engine": engine, **about}
        text = json.dumps(whole, indent=1) + "\n"
        atomic_write(beside(path, "json"), lambda file: file.write(text.encode()))
        atomic_write(beside(path, "log"), lambda file: file.write(build.text().encode()))
    except BaseException:
        remove(path)
        raise
    beside(path, "failed.log").unlink(missing_ok=True)
