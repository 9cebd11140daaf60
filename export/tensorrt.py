"""TensorRT behind one name: the package ``tensorrt`` where it is installed, else ``tensorrt_rtx``.

The two have the same classes. NAMES lists everything that is used of them; it exists in TensorRT 10.16 and 11 and in
TensorRT-RTX 1.7, and tests hold it against their real bindings.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diffsda.errors import DiffSDAError, InputError, MissingPackage

Progress = Callable[[str, int, int], None]
"""Called with the phase of a build, the steps done in it and the steps it has."""

PACKAGES = ("tensorrt", "tensorrt_rtx")
"""What is tried, in this order."""

INSTALL = (
    "pip install tensorrt (from NVIDIA's package index; any data-centre or desktop GPU), "
    "or pip install tensorrt-rtx (desktop GPUs; builds without one)"
)

NAMES: dict[str, tuple[str, ...]] = {
    "BuilderFlag": ("REFIT", "TF32", "VERSION_COMPATIBLE"),
    "DataType": ("BF16", "BOOL", "FLOAT", "HALF", "INT32", "INT64"),
    "LayerType": ("CONVOLUTION", "MATRIX_MULTIPLY", "NORMALIZATION"),
    "MemoryPoolType": ("WORKSPACE",),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "TensorIOMode": ("INPUT",),
    "ILogger": ("log", "INFO", "ERROR"),
    "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
    "Builder": (
        "build_serialized_network",
        "create_builder_config",
        "create_network",
        "create_optimization_profile",
    ),
    "IBuilderConfig": (
        "add_optimization_profile",
        "builder_optimization_level",
        "clear_flag",
        "create_timing_cache",
        "get_timing_cache",
        "progress_monitor",
        "set_flag",
        "set_memory_pool_limit",
        "set_timing_cache",
    ),
    "IHostMemory": ("nbytes",),
    "IOptimizationProfile": ("set_shape",),
    "ITimingCache": ("serialize",),
    "INetworkDefinition": ("get_input", "get_layer", "get_output", "num_inputs", "num_layers", "num_outputs"),
    "ILayer": ("get_output", "type"),
    "ITensor": ("dtype", "get_dimension_name", "name", "shape"),
    "OnnxParser": ("get_error", "num_errors", "parse_from_file"),
    "OnnxParserRefitter": ("get_error", "num_errors", "refit_from_file"),
    "ParserError": ("desc", "node_name", "node_operator"),
    "Refitter": ("refit_cuda_engine",),
    "Runtime": ("deserialize_cuda_engine", "engine_host_code_allowed"),
    "ICudaEngine": (
        "create_execution_context",
        "get_tensor_dtype",
        "get_tensor_mode",
        "get_tensor_name",
        "get_tensor_shape",
        "num_io_tensors",
        "refittable",
    ),
    "IExecutionContext": ("execute_async_v3", "infer_shapes", "set_input_shape", "set_tensor_address"),
}
"""Class -> members used."""

RTX_NAMES: dict[str, tuple[str, ...]] = {
    "ComputeCapability": ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121"),
    "IBuilderConfig": ("num_compute_capabilities", "set_compute_capability"),
}
"""What is used of TensorRT-RTX alone."""


@dataclass(frozen=True)
class Library:
    """An imported TensorRT: the module, the name of its package, its version."""

    trt: Any
    package: str
    version: str

    @property
    def rtx(self) -> bool:
        """Whether this is TensorRT-RTX, which builds without a GPU and keeps no timing cache."""
        return self.package == "tensorrt_rtx"

    @property
    def label(self) -> str:
        """The part of a file name that says which TensorRT, such as trt10.16.1.11 or rtx1.7.1.116."""
        return f"{'rtx' if self.rtx else 'trt'}{self.version}"


def load(package: str | None = None) -> Library:
    """Import TensorRT: the package named, or the first of PACKAGES that can be imported.

    Raises: InputError for another name; MissingPackage, with why each failed and how to get one.
    """
    if package is not None and package not in PACKAGES:
        raise InputError(f"TensorRT: got the package {package!r}, expected {' or '.join(PACKAGES)}")
    failed = []
    for name in PACKAGES if package is None else (package,):
        try:
            module = importlib.import_module(name)
            # A folder of that name, or an installation whose libraries were never fetched, imports as an empty module.
            return Library(module, name, str(module.__version__))
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            failed.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    raise MissingPackage(f"TensorRT cannot be imported ({'; '.join(failed)}): {INSTALL}")


class Build:
    """What a build says on its way: the log, the progress, and whether somebody stopped it.

    An exception must not cross from Python into the builder that called it, so the first one is kept here:
    ``raise_stopped`` raises it once the builder has returned.
    """

    def __init__(self, library: Library, progress: Progress | None = None, *, verbose: bool = False) -> None:
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.stopped: BaseException | None = None
        self.logger = _logger(library, self, verbose)
        self.monitor = _monitor(library, self, progress)

    def raise_stopped(self) -> None:
        """Raise what stopped the build, an interrupt or an error in the caller's ``progress``; else do nothing."""
        if self.stopped is not None:
            raise self.stopped

    def say(self, line: str) -> None:
        """Add a line of our own to the log."""
        self.lines.append(f"DIFFSDA: {line}")

    def text(self) -> str:
        """Return the whole log."""
        return "".join(f"{line}\n" for line in self.lines)

    def why(self) -> str:
        """Return the last error that was logged, in one line."""
        return one_line(self.errors[-1]) if self.errors else "no reason was given"


def one_line(text: str, longest: int = 400) -> str:
    """Return a message of TensorRT without its line breaks, cut where it is very long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else f"{flat[:longest]}..."


def _logger(library: Library, build: Build, verbose: bool) -> Any:
    trt = library.trt
    info, error = int(trt.ILogger.INFO), int(trt.ILogger.ERROR)

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps lines; severities count downwards, 0 is worst."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            try:
                if int(severity) <= info or verbose:
                    build.lines.append(f"{severity.name}: {message}")
                if int(severity) <= error:
                    build.errors.append(message)
            except BaseException as stop:
                build.stopped = build.stopped or stop

    return Log()


def _monitor(library: Library, build: Build, progress: Progress | None) -> Any:
    trt = library.trt

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """Passes steps on; the builder gives up after a step that is answered with False."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            self._say(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._say(phase_name, step + 1)
            return build.stopped is None

        def phase_finish(self, phase_name: str) -> None:
            self._say(phase_name, self.steps.pop(phase_name, 0))

        def _say(self, phase: str, done: int) -> None:
            if progress is None or build.stopped is not None:
                return
            try:
                progress(phase, done, max(self.steps.get(phase, 0), done))
            except BaseException as stop:
                build.stopped = stop

    return Monitor()


def parser_errors(parser: Any) -> str:
    """Return what a parser complains about, each with the node it is about, in one line."""
    said = []
    for number in range(parser.num_errors):
        error = parser.get_error(number)
        node, operator = error.node_name(), error.node_operator()
        where = f"node {node!r} ({operator}): " if node or operator else ""
        said.append(f"{where}{one_line(error.desc())}")
    return "; ".join(said) or "no reason was given"


def make_builder(library: Library, build: Build) -> Any:
    """Return a Builder.

    Raises: DiffSDAError where the library cannot start one, most often for want of a GPU or its driver.
    """
    try:
        return library.trt.Builder(build.logger)
    except (TypeError, RuntimeError) as error:
        why = build.why() if build.errors else one_line(str(error))
        raise DiffSDAError(
            f"{library.label}: no builder could be made ({why}); TensorRT builds on the GPU it builds for: check "
            "nvidia-smi, or build with tensorrt-rtx, which needs none"
        ) from error
