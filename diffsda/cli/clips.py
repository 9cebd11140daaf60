"""Models and files as the verbs open them."""

from __future__ import annotations

from pathlib import Path

from diffsda.cli.options import WithModel
from diffsda.disentangler import Disentangler
from diffsda.doctor import compiling
from diffsda.errors import InputError, MissingPackage
from diffsda.export import manifest
from diffsda.export.session import ExportedSession, OnnxSession
from diffsda.inference import Execution, Session
from diffsda.model import DiffSDA


def open_session(path: str, options: WithModel) -> Disentangler:
    """Load a model file or the newest of a run folder, and prepare it to run as the options say; or open an export.

    Raises: InputError for what the device, or the export, cannot do; MissingPackage where there is nothing to compile
    with, or no ONNX Runtime or TensorRT.
    """
    if (Path(path) / manifest.NAME).is_file():
        return _open_exported(path, options)
    if options.runtime != "auto":
        raise InputError(
            f"--runtime: got {options.runtime} for {path}, expected an exported folder: `diffsda export` makes one"
        )
    from diffsda.checkpoint import load
    from diffsda.train.parallel import join

    # First, so that what cannot be is refused before a large file is read.
    execution = Execution(precision=options.precision, layout=options.layout, route=options.route, tile=options.tile)
    model = load(path, device=join(options.device).device)
    if not isinstance(model, DiffSDA):
        return _as_it_is(path, model, options)
    if execution.route == "compile":
        found = compiling(next(model.parameters()).is_cuda)
        if found.status != "available":
            raise MissingPackage(f"route: got compile, which cannot work here: {found.reason}")
    return Session(model, execution)


def _as_it_is(path: str, model: Disentangler, options: WithModel) -> Disentangler:
    """Return a model of another system, which is run as it was trained."""
    for name in ("precision", "route", "layout", "tile"):
        given = getattr(options, name)
        if given not in ("auto", None, "float32" if name == "precision" else "eager"):
            raise InputError(
                f"--{name}: got {given} for {path}, a model of {model.recipe.system}, expected it to be left out: only "
                "networks of diffsda are prepared"
            )
    return model


def _open_exported(path: str, options: WithModel) -> ExportedSession:
    from diffsda.export.onnxruntime import on_cuda
    from diffsda.train.parallel import place_of

    held = manifest.read(path)
    if options.precision not in ("auto", held.precision):
        raise InputError(
            f"--precision: got {options.precision} for {path}, an export in {held.precision}; expected that, or "
            "another export"
        )
    for name in ("route", "layout"):
        if getattr(options, name) != "auto":
            raise InputError(f"--{name}: got {getattr(options, name)} for {path}, an export, expected a model file")
    if options.runtime == "tensorrt":
        return _open_engines(Path(path), options)
    place = place_of("cpu" if options.device == "auto" and not on_cuda() else options.device)
    return OnnxSession(path, provider=place.type, number=place.index, tile=options.tile)


def _open_engines(folder: Path, options: WithModel) -> ExportedSession:
    from diffsda.export.engine_name import tile_of_engines
    from diffsda.export.engine_session import EngineSession
    from diffsda.train.parallel import place_of

    if options.device == "cpu":
        raise InputError("--device: got cpu with --runtime tensorrt, expected cuda: engines run on nothing else")
    tile = tile_of_engines(folder, ("encoder", "network"), frames=options.tile)
    device = place_of("cuda" if options.device == "auto" else options.device)
    return EngineSession(folder, clips=tile.clips, frames=tile.frames, device=str(device))


def fresh_file(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Raises: InputError if the file exists and may not be replaced, its folder is missing, or its ending is unknown.
    """
    from diffsda.data.arrays import SUFFIXES

    if path.suffix not in SUFFIXES:
        raise InputError(f"--out: got {path}, expected a file ending in {', '.join(SUFFIXES)}")
    fresh(path, overwrite=overwrite)


def fresh(path: Path, *, overwrite: bool, option: str = "--out") -> None:
    """Refuse an existing file that may not be replaced, and a missing folder."""
    if path.is_dir():
        raise InputError(f"{option}: got the folder {path}, expected the name of a file")
    if path.exists() and not overwrite:
        raise InputError(f"{option}: {path} exists already, expected a new file (or --overwrite)")
    if not path.parent.is_dir():
        raise InputError(f"{option}: got {path}, expected a folder that exists; make {path.parent} first")


def fresh_figure(path: Path, *, overwrite: bool) -> None:
    """Refuse a figure that cannot be written or drawn, before any work is done."""
    import matplotlib  # noqa: F401  # missing, it shows here and not after the work

    if path.suffix.lower() != ".png":
        raise InputError(f"--figure: got {path}, expected a file ending in .png")
    fresh(path, overwrite=overwrite, option="--figure")


def check_seed(seed: int) -> None:
    """Refuse a seed that no clip could draw from, before any work is done."""
    if not 0 <= seed < 2**62:
        raise InputError(f"--seed: got {seed}, expected a whole number from 0 to 2^62")
