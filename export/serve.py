"""A model repository for NVIDIA's Triton inference server, written from an exported folder.

    REPOSITORY/<name>_encoder/config.pbtxt    inputs, outputs, batching, instances
    REPOSITORY/<name>_encoder/1/model.onnx    or model.plan, an engine
    REPOSITORY/<name>_denoise/...

ONNX files are served in batches that the server puts together; engines take their tile, exactly.
Source: the server's ModelConfig schema (model_config.proto), against which tests parse what is written. Experimental:
no server has loaded these models yet.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffsda.errors import InputError, SaveError
from diffsda.export import manifest
from diffsda.export.engine_name import Here, Tile, description, find_engine
from diffsda.export.manifest import Port
from diffsda.export.tensorrt import load

Backend = Literal["onnxruntime", "tensorrt"]
Device = Literal["auto", "gpu", "cpu"]

GRAPHS = ("encoder", "denoise")
BACKENDS = ("onnxruntime", "tensorrt")
DEVICES = ("auto", "gpu", "cpu")
FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}
VERSION = "1"
"""The folder of the first version of a model, as the server counts them."""

TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "int64": "TYPE_INT64"}
"""Type of an array -> the schema's."""


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives; free axes have names, fixed ones numbers."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How models are served.

    ``clips`` and ``frames``: how many of them a batch holds at most, clips for the encoder and frames for the rest.
    ``delay``: microseconds a request may wait for others to share its batch. ``instances``: copies of a model on each
    device. ``device``: auto is the server's choice. ``gpus``: numbers of the GPUs to use; left open, all.
    """

    clips: int = 16
    frames: int = 160
    delay: int = 500
    instances: int = 1
    device: Device = "auto"
    gpus: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("clips", 1), ("frames", 1), ("delay", 0), ("instances", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(f"{name}: got {value!r}, expected a whole number of at least {least}")
        if self.device not in DEVICES:
            raise InputError(f"device: got {self.device!r}, expected {', '.join(DEVICES)}")
        if any(type(number) is not int or number < 0 for number in self.gpus):
            raise InputError(f"gpus: got {self.gpus}, expected numbers of GPUs such as 0, 1")
        if self.gpus and self.device != "gpu":
            raise InputError(f"gpus: got {self.gpus} with device {self.device}, expected device gpu")


def write_repository(
    folder: Path,
    repository: Path,
    *,
    name: str = "diffsda",
    backend: Backend = "onnxruntime",
    graphs: Sequence[str] = GRAPHS,
    serving: Serving | None = None,
    tile: Tile | None = None,
    engines: Path | None = None,
    here: Here | None = None,
) -> list[Path]:
    """Write a model repository; return the folders of its models. It appears whole or not at all.

    ``tile``, ``engines`` and ``here`` are for the backend tensorrt: which engines, where they are (``folder/engines``)
    and what they must fit, the GPU architecture and TensorRT of the server (those here unless said otherwise).
    Raises: InputError for a folder that is no exported model or lacks a graph, a repository that exists, engines that
    do not fit, and values that cannot be; CheckpointError for files that are damaged or of another export; SaveError
    where writing fails; MissingPackage for engines without TensorRT where ``here`` is left open.
    """
    serving = serving or Serving()
    _check(name, backend, graphs, repository)
    if backend == "tensorrt" and serving.device == "cpu":
        raise InputError("device: got cpu for backend tensorrt, expected gpu or auto: engines run on GPUs alone")
    if backend == "tensorrt":
        models = {graph: _engine_model(folder, graph, tile, engines, here) for graph in graphs}
    else:
        models = {graph: _onnx_model(folder, graph, f"{name}_{graph}", serving) for graph in graphs}
    part = repository.parent / f".{secrets.token_hex(8)}.part"
    try:
        for graph, (ports, files) in models.items():
            model = part / f"{name}_{graph}"
            version = model / VERSION
            version.mkdir(parents=True)
            for target, source in files.items():
                shutil.copyfile(source, version / target)
            batch = serving.clips if graph == "encoder" else serving.frames
            text = config(model.name, backend, ports, serving, batch)
            (model / "config.pbtxt").write_text(text, encoding="utf-8")
        if repository.is_dir():
            repository.rmdir()
        part.rename(repository)
    except OSError as error:
        raise SaveError(f"{repository}: could not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [repository / f"{name}_{graph}" for graph in graphs]


def config(name: str, backend: str, signature: Signature, serving: Serving, batch: int) -> str:
    """Return the text of a config.pbtxt.

    Where the first axis of every array is free the server makes batches of up to ``batch`` along it; else it passes
    arrays through.
    """
    ports = (*signature.inputs, *signature.outputs)
    batched = all(isinstance(axis, str) for port in ports for axis in port.shape[:1] or (1,))
    lines = [
        f"name: {_quoted(name)}",
        f"backend: {_quoted(backend)}",
        f"max_batch_size: {batch if batched else 0}",
    ]
    for kind, group in (("input", signature.inputs), ("output", signature.outputs)):
        for port in group:
            lines += [f"{kind} {{", *(f"  {line}" for line in _port(port, batched)), "}"]
    if batched:
        lines += ["dynamic_batching {", f"  max_queue_delay_microseconds: {serving.delay}", "}"]
    lines += ["instance_group {", f"  count: {serving.instances}", f"  kind: KIND_{serving.device.upper()}"]
    if serving.gpus:
        lines.append(f"  gpus: [{', '.join(map(str, serving.gpus))}]")
    return "\n".join([*lines, "}"]) + "\n"


def _check(name: str, backend: str, graphs: Sequence[str], repository: Path) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InputError(f"name: got {name!r}, expected letters, digits, _, . and -")
    if backend not in BACKENDS:
        raise InputError(f"backend: got {backend!r}, expected {' or '.join(BACKENDS)}")
    if not graphs or len(set(graphs)) != len(graphs):
        raise InputError(f"graphs: got {list(graphs)}, expected names, each once")
    if os.path.lexists(repository) and not (repository.is_dir() and not any(repository.iterdir())):
        raise InputError(f"{repository}: exists, expected a new name; remove it or write elsewhere")
    if not repository.parent.is_dir():
        raise InputError(f"{repository}: there is no folder {repository.parent}; make it first")


def _onnx_model(folder: Path, graph: str, model: str, serving: Serving) -> tuple[Signature, dict[str, Path]]:
    held = manifest.read(folder)
    path = held.path(folder, graph)
    if held.precision == "bf16" and serving.device == "cpu":
        raise InputError(
            f"{model}: got bf16 for device cpu, where ONNX Runtime has it not; export it in float32 or serve it by gpu"
        )
    about = held.graphs[graph]
    files = {FILES["onnxruntime"]: path}
    # Weights of their own file are looked for beside the model, under the name the model has for them.
    files |= {name: folder / name for name in about.files if name != path.name}
    return Signature(about.inputs, about.outputs), files


def _engine_model(
    folder: Path, graph: str, tile: Tile | None, engines: Path | None, here: Here | None
) -> tuple[Signature, dict[str, Path]]:
    if tile is None:
        raise InputError("tile: got none, expected the clips and frames of the engines to serve")
    here = here or Here.of(load())
    if not here.library.startswith("trt"):
        raise InputError(
            f"backend: got engines of {here.library} for tensorrt, expected those of TensorRT, which the server reads; "
            "serve the ONNX files (onnxruntime), or build engines with tensorrt"
        )
    path = find_engine(folder, graph, tile, here, engines=engines)
    about = description(path)
    ports = [
        tuple(Port(name, tuple(shape), "float32") for name, shape in about[kind].items())
        for kind in ("inputs", "outputs")
    ]
    return Signature(*ports), {FILES["tensorrt"]: path}


def _port(port: Port, batched: bool) -> list[str]:
    if port.dtype not in TYPES:
        raise InputError(f"{port.name}: got the type {port.dtype}, expected one of {', '.join(TYPES)}")
    dims = [n if isinstance(n, int) else -1 for n in port.shape[1 if batched else 0 :]]
    sizes = ", ".join(map(str, dims or [1]))
    lines = [f"name: {_quoted(port.name)}", f"data_type: {TYPES[port.dtype]}", f"dims: [{sizes}]"]
    # The schema has no array without axes: one number a row travels as (rows, 1).
    return lines if dims else [*lines, "reshape { shape: [] }"]


def _quoted(text: str) -> str:
    """Return text as a string of protobuf's text format."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
