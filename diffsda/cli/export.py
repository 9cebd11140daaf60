"""diffsda export: a model as files that other runtimes read."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffsda.cli.options import parse
from diffsda.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write a model's parts as ONNX files, or compare a folder's runtimes with --check."""

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = None
    """A model file, or a run folder."""
    to: Literal["onnx"] = "onnx"
    """What to write."""
    out: Path | None = None
    """A new folder."""
    precision: Literal["float32", "fp16", "bf16"] = "float32"
    """Of the networks; inputs, outputs, tables, norms' statistics and the recurrent part are float32 always."""
    sampler: bool = False
    """Write the whole sampler as one graph, too."""
    steps: int | None = None
    """Solver steps of that sampler; left open, the recipe's."""
    check: Path | None = None
    """An exported folder: run all runtimes this host has on it and say how far they are from the model."""
    overwrite: bool = False
    """Replace an earlier export."""
    json: bool = False
    """Print JSON."""


def run(argv: list[str]) -> int:
    """Export, or check an export."""
    options = parse(Options, argv, "export", "Write a model as files that other runtimes read.")
    if options.check is not None:
        if options.model is not None or options.out is not None:
            raise InputError("--check: got a model or --out besides, expected the exported folder alone")
        return _check(options.check, as_json=options.json)
    if options.model is None or options.out is None:
        raise InputError("expected MODEL and --out DIR (or --check DIR); see `diffsda export --help`")
    return _export(options.model, options.out, options)


def _export(source: str, out: Path, options: Options) -> int:
    import dataclasses

    from diffsda.checkpoint import load
    from diffsda.cli.progress import telling
    from diffsda.edm.schedule import sampling_plan
    from diffsda.export.onnx import check_folder, export

    check_folder(out, overwrite=options.overwrite)
    model = load(source)
    plan = None
    if options.sampler:
        sampling = model.recipe.sampling
        if options.steps is not None:
            sampling = dataclasses.replace(sampling, steps=options.steps)
        plan = sampling_plan(sampling, model.denoiser.precondition)
    elif options.steps is not None:
        raise InputError("--steps: got a number without --sampler, expected both: solvers outside choose their own")
    with telling("export") as tell:
        manifest = export(model, out, precision=options.precision, sampler=plan, overwrite=options.overwrite, tell=tell)
    rows = [
        {"graph": name, "file": g.file, "bytes": g.bytes, "error": g.error, "bound": g.bound, "measured": g.measured}
        for name, g in manifest.graphs.items()
    ]
    if options.json:
        print(json.dumps({"out": str(out), "precision": manifest.precision, "opset": manifest.opset, "graphs": rows}))
        return 0
    for row in rows:
        size = f"{row['bytes'] / 1e6:9.2f} MB"
        print(
            f"{row['file']:20} {size}  error {row['error']:.1e} of {row['bound']:.0e} ({row['measured']})",
            file=sys.stderr,
        )
    print(out)
    return 0


def _check(folder: Path, *, as_json: bool) -> int:
    from diffsda.export.check import check

    verdicts = list(check(folder))
    if as_json:
        plain = [{k: None if v != v else v for k, v in vars(verdict).items()} for verdict in verdicts]
        print(json.dumps([{**row, "good": verdict.good} for row, verdict in zip(plain, verdicts)]))
    else:
        print(f"{'runtime':20} {'factors':>9} {'sample':>9} {'bound':>8} {'seconds':>8}")
        for v in verdicts:
            if v.skipped:
                print(f"{v.runtime:20} skipped: {v.skipped}")
            else:
                word = "" if v.good else "  TOO FAR"
                print(f"{v.runtime:20} {v.factors:9.1e} {v.sample:9.1e} {v.bound:8.0e} {v.seconds:8.3f}{word}")
    ran = [v for v in verdicts if not v.skipped]
    if not ran:
        raise InputError(f"{folder}: no runtime could be run here, expected ONNX Runtime: pip install 'diffsda[onnx]'")
    return 0 if all(v.good for v in ran) and all(math.isfinite(v.seconds) for v in ran) else 1
