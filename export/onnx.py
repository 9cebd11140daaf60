"""Write a model's graphs as ONNX files: checked, described, measured against torch, all or nothing."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
import logging
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import diffsda
from diffsda.edm.schedule import Plan
from diffsda.errors import DiffSDAError, InputError, MissingPackage, SaveError
from diffsda.export import prior_graph, stage_graphs
from diffsda.export.graphs import Graph, graphs
from diffsda.export.manifest import PARTS, Exported, Manifest, Port, sha256
from diffsda.export.parity import Parity, measure
from diffsda.export.recurrent import translations
from diffsda.export.reference import ask, recorded, request
from diffsda.firststage.files import Model
from diffsda.kernels.backend import backend
from diffsda.model import DiffSDA
from diffsda.prior.latent import LatentPrior

OPSET = {"float32": 21, "fp16": 21, "bf16": 22}
"""21 is the first whose GroupNormalization is one node; 22 the first whose convolution takes bf16."""
EXTERNAL = 1 << 30
"""Bytes of weights from which they lie in a file of their own: one message of the format holds less than 2 GiB."""


def export(
    model: DiffSDA,
    out: str | Path,
    *,
    precision: str = "float32",
    sampler: Plan | None = None,
    prior: LatentPrior | None = None,
    first_stage: Model | None = None,
    overwrite: bool = False,
    external: int = EXTERNAL,
    tell: Callable[[str], None] = lambda words: None,
) -> Manifest:
    """Write the graphs of a model and their manifest into a new folder.

    Files: encoder, network, noise_table, factor_table and denoise, with ``sampler`` (a plan without churn) the whole
    sampler too, with ``prior`` the prior, with ``first_stage`` its encoder and decoder. ``tell`` hears what is being
    done. Until all of it is written and within its bounds, the folder does not exist.
    Raises: InputError for an unknown precision, a plan that cannot be a graph, a prior or first stage of another
    model, or a folder that is there already; MissingPackage without onnx; SaveError if it cannot be written;
    ExportError for a graph too far from the model.
    """
    out = Path(out)
    if precision not in OPSET:
        raise InputError(f"precision: got {precision!r}, expected one of {', '.join(OPSET)}")
    if sampler is not None and any(step.churn for step in sampler.steps):
        raise InputError("sampler: got a plan that adds noise (S_churn > 0), expected one without: a graph draws none")
    if prior is not None:
        prior_graph.check(prior, model.recipe)
    if first_stage is not None:
        stage_graphs.check(first_stage, model.recipe, model.provenance)
    _require_onnx()
    check_folder(out, overwrite=overwrite)
    try:
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as part:
            folder = Path(part) / "new"
            folder.mkdir()
            held, answers = {}, {}
            exact = copy.deepcopy(model).cpu().float().eval()
            parts = Parts(_exact(prior), _exact(first_stage))
            for graph in _graphs(exact, parts, precision, sampler):
                tell(f"{graph.name}: writing")
                about = _metadata(graph, exact, parts, precision)
                held[graph.name] = _one(graph, folder, about, precision, external, tell)
                if graph.name in PARTS:
                    answers[graph.name] = recorded(graph)
            manifest = Manifest(
                recipe=model.recipe,
                precision=precision,
                opset=OPSET[precision],
                graphs=held,
                whitening=model.whitening,
                provenance=dict(model.provenance),
                versions=_versions(),
                prior=None if parts.prior is None else prior_graph.about(parts.prior),
                first_stage=None if parts.first_stage is None else stage_graphs.about(parts.first_stage),
            )
            tell("reference: asking the model")
            replace(ask(exact, *request(model.recipe)), parts=answers).write(folder)
            manifest.write(folder)
            _put(folder, out, Path(part) / "old")
    except OSError as error:
        if isinstance(error, DiffSDAError):
            raise
        raise SaveError(f"{out}: could not be written ({error.strerror or error})") from error
    return manifest


@dataclass(frozen=True)
class Parts:
    """What goes into an export beside the model, in float32 on the CPU."""

    prior: LatentPrior | None = None
    first_stage: Model | None = None


def _exact(part: Any) -> Any:
    return None if part is None else copy.deepcopy(part).cpu().float().eval()


def _graphs(exact: DiffSDA, parts: Parts, precision: str, sampler: Plan | None) -> Iterator[Graph]:
    """Yield all graphs; a part's are made when the model's are written, as they are copies of its weights."""
    yield from graphs(exact, precision, sampler=sampler)
    if parts.prior is not None:
        yield prior_graph.prior_graph(parts.prior, precision)
    if parts.first_stage is not None:
        yield from stage_graphs.stage_graphs(parts.first_stage, exact.recipe, precision)


def _one(
    graph: Graph, folder: Path, about: dict[str, str], precision: str, external: int, tell: Callable[[str], None]
) -> Exported:
    import onnx

    path = folder / f"{graph.name}.onnx"
    with _quiet(), torch.no_grad(), backend("torch"):
        # Fewest rows are 1, but traced with more: torch.export takes an axis of 1 for a fixed one.
        free = {name: torch.export.Dim(name, min=1) for axes in graph.axes for name in axes.values()}
        program = torch.onnx.export(
            graph.module,
            graph.example,
            dynamo=True,
            opset_version=OPSET[precision],
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple({axis: free[name] for axis, name in axes.items()} for axes in graph.axes),
            custom_translation_table=translations(),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    del program
    for key, value in about.items():
        proto.metadata_props.add(key=key, value=value)
    proto.producer_name, proto.producer_version = "diffsda", diffsda.__version__
    apart = sum(len(t.raw_data) for t in proto.graph.initializer) >= external
    where: dict[str, Any] = {}
    if apart:
        where = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 1024}
    onnx.save_model(proto, path, **where)
    onnx.checker.check_model(path, full_check=not apart)
    files = [path, *([folder / f"{path.name}.data"] if apart else [])]
    tell(f"{graph.name}: comparing")
    found: Parity = measure(graph, path, precision)
    return Exported(
        files={file.name: sha256(file) for file in files},
        bytes=sum(file.stat().st_size for file in files),
        inputs=tuple(map(_port, proto.graph.input)),
        outputs=tuple(map(_port, proto.graph.output)),
        operations=dict(Counter(node.op_type for node in proto.graph.node).most_common()),
        error=found.error,
        bound=found.bound,
        measure=found.measure,
        measured=found.measured,
    )


def _metadata(graph: Graph, model: DiffSDA, parts: Parts, precision: str) -> dict[str, str]:
    more = {}
    if graph.name == prior_graph.NAME and parts.prior is not None:
        more["diffsda.prior"] = json.dumps(prior_graph.about(parts.prior))
    if graph.name in (stage_graphs.ENCODER, stage_graphs.DECODER) and parts.first_stage is not None:
        more["diffsda.first_stage"] = json.dumps(stage_graphs.about(parts.first_stage))
    return {
        **more,
        "diffsda.graph": graph.name,
        "diffsda.recipe": json.dumps(model.recipe.to_dict()),
        "diffsda.digest": model.recipe.digest,
        "diffsda.precision": precision,
        "diffsda.whitening": json.dumps(None if model.whitening is None else model.whitening.to_dict()),
        "diffsda.versions": json.dumps(_versions()),
    }


def _versions() -> dict[str, str]:
    import onnx
    import onnxscript

    return {
        "diffsda": diffsda.__version__,
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
        "onnxscript": onnxscript.__version__,
    }


def _port(value: Any) -> Port:
    import onnx

    kind = value.type.tensor_type
    axes = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
    return Port(value.name, axes, str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))


def _require_onnx() -> None:
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(f"export: {package} is not installed: pip install 'diffsda[onnx]'")


def check_folder(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that cannot be written, before any work is done.

    Raises: InputError.
    """
    if not out.parent.is_dir():
        raise InputError(f"--out: got {out}, expected a folder in one that exists; make {out.parent} first")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: got the file {out}, expected a new folder")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise InputError(f"--out: {out} holds files already, expected a new folder (or --overwrite)")
        if not (out / "export.json").is_file():
            raise InputError(f"--out: {out} holds files of something else; only an earlier export is overwritten")


def _put(new: Path, out: Path, old: Path) -> None:
    """Put a finished folder in its place; what was there goes only then."""
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on packages that are not used here, and on graphs it need not fold, to itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)
