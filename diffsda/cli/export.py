"""diffsda export: a model as files that other runtimes read."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from diffsda.cli.options import parse
from diffsda.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write a model's parts as ONNX files, or compare a folder's runtimes with --check."""

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = None
    """A model file, or a run folder."""
    to: Literal["onnx", "tensorrt", "triton-server"] = "onnx"
    """onnx; tensorrt: engines of an export (made first, from a model file); triton-server: a model repository."""
    out: Path | None = None
    """A new folder; for tensorrt from an exported folder left open: the engines go into its folder engines."""
    precision: Literal["float32", "fp16", "bf16"] = "float32"
    """Of the networks; inputs, outputs, tables, norms' statistics and the recurrent part are float32 always."""
    sampler: bool = False
    """Write the whole sampler as one graph, too."""
    steps: int | None = None
    """Solver steps of that sampler; left open, the recipe's."""
    prior: Path | None = None
    """The model's prior, to be written too; left open, prior.safetensors in the run folder, where there is one."""
    first_stage: Path | None = None
    """The first stage of a model of latents, to be written too: pixels to latents and back."""
    check: Path | None = None
    """An exported folder: run all runtimes this host has on it and say how far they are from the model."""
    overwrite: bool = False
    """Replace an earlier export, its engines included."""
    clips: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N")] = (1, 4, 16)
    """tensorrt: an engine for each of these numbers of clips; triton-server: the engines' (one number)."""
    frames: int | None = None
    """tensorrt: frames of a clip; left open, the recipe's."""
    levels: int | None = None
    """tensorrt: noise levels of the noise table's engine."""
    rebuild: bool = False
    """tensorrt: build engines again that are there."""
    refit: bool = False
    """tensorrt: weights can be replaced later, which costs speed."""
    version_compatible: bool = False
    """tensorrt: later TensorRT of the same major version reads the engines, which costs speed."""
    workspace: int = 4096
    """tensorrt: MiB of GPU memory that a layer may use."""
    tf32: bool = False
    """tensorrt: products of float32 engines in TF32."""
    architecture: str | None = None
    """tensorrt: such as sm89, with TensorRT-RTX alone; left open, this GPU's, or all where there is none."""
    name: str = "diffsda"
    """triton-server: how the models' names begin."""
    backend: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    """triton-server: what runs them."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """triton-server: where."""
    gpus: tuple[int, ...] = ()
    """triton-server: which GPUs; left open, all."""
    instances: int = 1
    """triton-server: copies of a model on each device."""
    json: bool = False
    """Print JSON."""


def run(argv: list[str]) -> int:
    """Export, or check an export."""
    options = parse(Options, argv, "export", "Write a model as files that other runtimes read.")
    if options.check is not None:
        if options.model is not None or options.out is not None:
            raise InputError("--check: got a model or --out besides, expected the exported folder alone")
        return _check(options.check, as_json=options.json)
    if options.model is None:
        raise InputError("expected MODEL and --out DIR (or --check DIR); see `diffsda export --help`")
    exported = (Path(options.model) / "export.json").is_file()
    if options.to == "triton-server":
        return _serve(Path(options.model), options)
    if options.to == "tensorrt" and exported:
        return _build(Path(options.model), options)
    if exported:
        raise InputError(f"got {options.model}, which is an export already, expected a model file or a run folder")
    if options.out is None:
        raise InputError("expected --out DIR, a new folder; see `diffsda export --help`")
    status = _export(options.model, options.out, options)
    return status if options.to == "onnx" else _build(options.out, options)


def _export(source: str, out: Path, options: Options) -> int:
    import dataclasses

    from diffsda.checkpoint import load_diffsda
    from diffsda.cli.progress import telling
    from diffsda.edm.schedule import sampling_plan
    from diffsda.export.onnx import check_folder, export

    check_folder(out, overwrite=options.overwrite)
    model, parts = load_diffsda(source, what="export"), _parts(source, options)
    plan = None
    if options.sampler:
        sampling = model.recipe.sampling
        if options.steps is not None:
            sampling = dataclasses.replace(sampling, steps=options.steps)
        plan = sampling_plan(sampling, model.denoiser.precondition)
    elif options.steps is not None:
        raise InputError("--steps: got a number without --sampler, expected both: solvers outside choose their own")
    with telling("export") as tell:
        manifest = export(
            model, out, precision=options.precision, sampler=plan, overwrite=options.overwrite, tell=tell, **parts
        )
    rows: list[dict[str, Any]] = [
        {"graph": name, "file": g.file, "bytes": g.bytes, "error": g.error, "bound": g.bound, "measured": g.measured}
        for name, g in manifest.graphs.items()
    ]
    if options.json and options.to == "onnx":
        print(json.dumps({"out": str(out), "precision": manifest.precision, "opset": manifest.opset, "graphs": rows}))
        return 0
    for row in rows:
        size = f"{row['bytes'] / 1e6:9.2f} MB"
        print(
            f"{row['file']:20} {size}  error {row['error']:.1e} of {row['bound']:.0e} ({row['measured']})",
            file=sys.stderr,
        )
    if options.to == "onnx":
        print(out)
    return 0


def _parts(source: str, options: Options) -> dict[str, Any]:
    """Load what goes into the export beside the model."""
    import torch

    from diffsda.cli.priors import open_prior, place

    parts: dict[str, Any] = {}
    if options.prior is not None or (Path(source).is_dir() and place(source, None).is_file()):
        parts["prior"] = open_prior(source, options.prior, torch.device("cpu"))
    if options.first_stage is not None:
        from diffsda.firststage.files import load_first_stage

        parts["first_stage"] = load_first_stage(options.first_stage)
    return parts


def _build(folder: Path, options: Options) -> int:
    """Build engines of an exported folder."""
    from diffsda.cli.progress import telling
    from diffsda.export.engine import build_engines, buildable
    from diffsda.export.engine_plan import BuildOptions

    # After an export, --out is the exported folder itself.
    out = None if options.out == folder else options.out
    how = BuildOptions(
        workspace=options.workspace,
        refit=options.refit,
        version_compatible=options.version_compatible,
        tf32=options.tf32,
        architecture=options.architecture,
    )
    built = []
    with telling("export") as tell:
        for graph in buildable(folder):
            tell(f"{graph}: building engines for {', '.join(map(str, options.clips))} clips")
            built += build_engines(
                folder,
                graphs=[graph],
                clips=options.clips,
                frames=options.frames,
                levels=options.levels,
                out=out,
                options=how,
                rebuild=options.rebuild,
                progress=phases(tell),
            )
    for one in built:
        word = "was there" if one.reused else f"built in {one.seconds:.1f} s"
        print(f"{one.path.name} {one.path.stat().st_size / 1e6:.2f} MB, {word}", file=sys.stderr)
    print(json.dumps([str(one.path) for one in built]) if options.json else built[0].path.parent)
    return 0


def phases(tell: Callable[[str], None]) -> Callable[[str, int, int], None]:
    """Say each phase of a build once, where someone watches one line change: phases are many and short."""
    last = [""]
    watched = sys.stderr.isatty()

    def say(phase: str, done: int, total: int) -> None:
        if watched and phase != last[0]:
            last[0] = phase
            tell(phase)

    return say


def _serve(folder: Path, options: Options) -> int:
    """Write a repository for NVIDIA's inference server from an exported folder."""
    from diffsda.export.engine import frames_of
    from diffsda.export.engine_name import Tile
    from diffsda.export.serve import Serving, write_repository

    if options.out is None:
        raise InputError("expected --out REPOSITORY, a new folder; see `diffsda export --help`")
    tile = None
    if options.backend == "tensorrt":
        if len(options.clips) != 1:
            raise InputError(f"--clips: got {options.clips}, expected the one number of clips whose engines are served")
        tile = Tile(options.clips[0], options.frames or frames_of(folder), options.levels)
    serving = Serving(instances=options.instances, device=options.device, gpus=options.gpus)
    written = write_repository(
        folder, options.out, name=options.name, backend=options.backend, serving=serving, tile=tile
    )
    for model in written:
        print(model, file=sys.stderr)
    print(json.dumps([str(model) for model in written]) if options.json else options.out)
    return 0


def _check(folder: Path, *, as_json: bool) -> int:
    from diffsda.export.check import check

    verdicts = list(check(folder))
    if as_json:
        plain = [{k: None if v != v else v for k, v in vars(verdict).items()} for verdict in verdicts]
        print(json.dumps([{**row, "good": verdict.good} for row, verdict in zip(plain, verdicts)]))
    else:
        parts = sorted({name for v in verdicts for name in v.parts})
        heads = "".join(f" {name.removeprefix('first_stage_'):>9}" for name in parts)
        print(f"{'runtime':20} {'factors':>9} {'sample':>9}{heads} {'bound':>8} {'seconds':>8}")
        for v in verdicts:
            if v.skipped:
                print(f"{v.runtime:20} skipped: {v.skipped}")
            else:
                word = "" if v.good else "  TOO FAR"
                found = "".join(f" {v.parts[name]:9.1e}" for name in parts)
                print(f"{v.runtime:20} {v.factors:9.1e} {v.sample:9.1e}{found} {v.bound:8.0e} {v.seconds:8.3f}{word}")
    ran = [v for v in verdicts if not v.skipped]
    if not ran:
        raise InputError(f"{folder}: no runtime could be run here, expected ONNX Runtime: pip install 'diffsda[onnx]'")
    return 0 if all(v.good for v in ran) and all(math.isfinite(v.seconds) for v in ran) else 1
