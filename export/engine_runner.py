"""Run a TensorRT engine on torch's CUDA tensors and torch's stream.

Experimental until measured on a GPU: the order of calls is tested against a stand-in, no engine has run yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.errors import DiffSDAError, InputError
from diffsda.export.engine_name import Here, Tile, check_engine, find_engine
from diffsda.export.tensorrt import Build, Library, load, one_line, parser_errors


def open_engine(
    folder: Path,
    graph: str,
    tile: Tile,
    *,
    engines: Path | None = None,
    precision: str | None = None,
    device: torch.device | None = None,
    library: Library | None = None,
) -> EngineRunner:
    """Open the engine of a graph and tile that fits the exported folder, this GPU and this TensorRT.

    Raises: MissingPackage without TensorRT; InputError naming the engines there are and why none fits; DiffSDAError
    where TensorRT cannot read the one that does.
    """
    library = library or load()
    path = find_engine(folder, graph, tile, Here.of(library), engines=engines, precision=precision)
    return EngineRunner(path, device=device, library=library)


class EngineRunner:
    """An engine with its context, warmed at the tile's shapes; called with arrays of exactly those.

    Experimental until measured on a GPU. A call puts its work on the current stream and does not wait for it, so that
    a CUDA graph can capture it; outputs are new tensors each call (in a capture, of the graph's own memory).
    """

    def __init__(self, path: Path, *, device: torch.device | None = None, library: Library | None = None) -> None:
        """Read, check and warm an engine.

        Raises: InputError for a truncated or foreign engine; DiffSDAError where TensorRT cannot read or run it.
        """
        self.library = library or load()
        self.path, self.device = path, device or torch.device("cuda")
        self.about = check_engine(path, Here.of(self.library))
        self._build = Build(self.library)
        trt = self.library.trt
        runtime = trt.Runtime(self._build.logger)
        if self.about["options"]["version_compatible"]:
            # Such an engine brings the code that runs it, and that is refused unless it is trusted.
            runtime.engine_host_code_allowed = True
        self._runtime, self._engine = runtime, runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise self._failed("TensorRT cannot read it")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._failed("no context could be made, most often for want of GPU memory")
        self.inputs: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        self.outputs: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        types = _types(trt)
        for number in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(number)
            there = self.inputs if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else self.outputs
            given = tuple(self._engine.get_tensor_shape(name))
            there[name] = (given, types[self._engine.get_tensor_dtype(name)])
        for name, (shape, _) in self.inputs.items():
            if not self._context.set_input_shape(name, shape):
                raise self._failed(f"it does not take {name} of {shape}")
        if missing := self._context.infer_shapes():
            raise self._failed(f"the shapes of {', '.join(missing)} are open")
        self._warm()

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the engine; return its outputs by name.

        Raises: InputError for inputs of another name, shape, type or device than the engine's; DiffSDAError where
        TensorRT refuses to run.
        """
        if inputs.keys() != self.inputs.keys():
            raise InputError(f"{self.path.name}: got {sorted(inputs)}, expected {sorted(self.inputs)}")
        # Held until the work is in the stream: a copy made here must not be freed before.
        given = {name: self._checked(name, tensor) for name, tensor in inputs.items()}
        found = {
            name: torch.empty(shape, dtype=dtype, device=self.device) for name, (shape, dtype) in self.outputs.items()
        }
        for name, tensor in (*given.items(), *found.items()):
            if not self._context.set_tensor_address(name, tensor.data_ptr()):
                raise self._failed(f"it does not take the address of {name}")
        if not self._context.execute_async_v3(current_stream(self.device)):
            raise self._failed("it does not run")
        return found

    def refit(self, onnx: Path) -> None:
        """Replace the weights by those of another ONNX file of the same graph; the engine on disk stays as it is.

        Raises: InputError for an engine that was not built with ``refit`` and for weights that do not fit.
        """
        if not self._engine.refittable:
            raise InputError(f"{self.path.name}: cannot take other weights; build it again with refit")
        trt = self.library.trt
        refitter = trt.Refitter(self._engine, self._build.logger)
        parser = trt.OnnxParserRefitter(refitter, self._build.logger)
        if not parser.refit_from_file(str(onnx)):
            raise InputError(f"{onnx}: its weights do not fit {self.path.name}: {parser_errors(parser)}")
        if not refitter.refit_cuda_engine():
            raise InputError(f"{onnx}: its weights do not fit {self.path.name}: {self._build.why()}")

    def _checked(self, name: str, tensor: Tensor) -> Tensor:
        shape, dtype = self.inputs[name]
        if tuple(tensor.shape) != shape or tensor.dtype != dtype or tensor.device.type != self.device.type:
            got = f"{tuple(tensor.shape)} {tensor.dtype} on {tensor.device}"
            raise InputError(f"{name}: got {got}, expected {shape} {dtype} on {self.device} ({self.path.name})")
        return tensor.contiguous()

    def _warm(self) -> None:
        """Run once on zeros: kernels are loaded and memory is taken before the first call that counts."""
        self(**{n: torch.zeros(shape, dtype=t, device=self.device) for n, (shape, t) in self.inputs.items()})
        finish(self.device)

    def _failed(self, what: str) -> DiffSDAError:
        reason = one_line(self._build.errors[-1]) if self._build.errors else "no reason was given"
        return DiffSDAError(f"{self.path.name}: {what} ({reason}); build it again here, or run the ONNX file instead")


def current_stream(device: torch.device) -> int:
    """Return the handle of torch's current stream."""
    return int(torch.cuda.current_stream(device).cuda_stream)


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    torch.cuda.synchronize(device)


def _types(trt: Any) -> dict[Any, torch.dtype]:
    kinds = trt.DataType
    return {
        kinds.FLOAT: torch.float32,
        kinds.HALF: torch.float16,
        kinds.BF16: torch.bfloat16,
        kinds.INT32: torch.int32,
        kinds.INT64: torch.int64,
        kinds.BOOL: torch.bool,
    }
