"""From an ONNX file to the bytes of an engine: parse, fix the shapes, configure, build.

Precision comes from the types in the ONNX file, since networks are strongly typed; nothing is cast here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.errors import InputError, SaveError
from diffsda.export.engine_name import ANY, Tile, device_architecture
from diffsda.export.tensorrt import Build, Library, make_builder, parser_errors


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How engines are built.

    ``workspace``: MiB of GPU memory a layer may use. ``refit``: weights can be replaced without a build, which costs
    speed. ``version_compatible``: later versions of the same major version read the engine, which costs speed.
    ``tf32``: products of float32 engines in TF32. ``timing_cache``: keep measured times in a file for the next build.
    ``effort``: 0 to 5, how long to search; None is TensorRT's own choice. ``architecture``: such as sm89, only for
    TensorRT-RTX; left open, all it supports. ``verbose``: everything goes into the log.
    """

    workspace: int = 4096
    refit: bool = False
    version_compatible: bool = False
    tf32: bool = False
    timing_cache: bool = True
    effort: int | None = None
    architecture: str | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        if type(self.workspace) is not int or self.workspace < 1:
            raise InputError(f"workspace: got {self.workspace!r}, expected a whole number of MiB of at least 1")
        if self.effort is not None and (type(self.effort) is not int or not 0 <= self.effort <= 5):
            raise InputError(f"effort: got {self.effort!r}, expected a whole number from 0 to 5")

    def kept(self) -> dict[str, Any]:
        """Return what tells two engines of the same name apart."""
        found = asdict(self)
        return {name: found[name] for name in ("workspace", "refit", "version_compatible", "tf32", "effort")}


def target(library: Library, options: BuildOptions) -> str:
    """Return the architecture that engines are built for: this GPU's, or with TensorRT-RTX any one or all.

    Raises: InputError for one that the library does not build for here.
    """
    here = device_architecture()
    if not library.rtx:
        if options.architecture not in (None, here):
            raise InputError(
                f"architecture: got {options.architecture}, expected {here or 'none'}: TensorRT builds for the GPU at "
                "hand; build on the other machine"
            )
        if here is None:
            raise InputError("TensorRT: got no GPU, expected one: it builds on the GPU it builds for (see nvidia-smi)")
        return here
    if options.architecture is None:
        return ANY
    known = [name.lower() for name in library.trt.ComputeCapability.__members__ if name.startswith("SM")]
    if options.architecture not in known:
        raise InputError(f"architecture: got {options.architecture!r}, expected one of {', '.join(known)}")
    return options.architecture


@dataclass(frozen=True)
class Parsed:
    """A parsed network of fixed shapes, with the builder and the parser that must outlive it.

    ``shapes``: of the inputs, by name. ``precision``: float32, bf16 or fp16, that of most convolutions, or of most
    matrix products where there are none. ``normalizations``: native NORMALIZATION layers among the ``layers``.
    """

    library: Library
    builder: Any
    network: Any
    parser: Any
    shapes: dict[str, tuple[int, ...]]
    precision: str
    layers: int
    normalizations: int

    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the outputs, by name."""
        tensors = [self.network.get_output(number) for number in range(self.network.num_outputs)]
        return {tensor.name: tuple(tensor.shape) for tensor in tensors}


def parse(library: Library, build: Build, onnx: Path, tile: Tile) -> Parsed:
    """Parse an ONNX file and give its inputs the shapes of a tile.

    Raises: InputError for a file that the parser refuses, with its nodes, and for axes that the tile does not settle;
    DiffSDAError where no builder can be made.
    """
    trt = library.trt
    builder = make_builder(library, build)
    # TensorRT 10 has to be told; later ones type every network strongly and may drop the flag.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, build.logger)
    good = parser.parse_from_file(str(onnx))
    build.raise_stopped()
    if not good:
        raise InputError(f"{onnx}: TensorRT's parser refuses it: {parser_errors(parser)}; export the model again")
    shapes = _fix(network, onnx, tile)
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    kinds = Counter(layer.type for layer in layers)
    native = kinds[trt.LayerType.NORMALIZATION]
    return Parsed(library, builder, network, parser, shapes, _precision(trt, layers), len(layers), native)


def _fix(network: Any, onnx: Path, tile: Tile) -> dict[str, tuple[int, ...]]:
    """Give every input of the network the tile's shape; return them by name."""
    shapes = {}
    for tensor in (network.get_input(number) for number in range(network.num_inputs)):
        shape = []
        for axis, given in enumerate(tensor.shape):
            name = tensor.get_dimension_name(axis) if given < 0 else None
            size = tile.size(name) if given < 0 else int(given)
            if size is None:
                asked = "say how many levels" if name == "levels" else "export the model again"
                raise InputError(
                    f"{onnx}: axis {axis} of {tensor.name!r} is free and called {name!r}, and the tile gives it no "
                    f"length, expected clips, length, frames or levels; {asked}"
                )
            shape.append(size)
        # A static input, not only a profile of equal ends: shape arithmetic folds away and serving sees fixed sizes.
        tensor.shape = shapes[tensor.name] = tuple(shape)
    return shapes


def _precision(trt: Any, layers: list[Any]) -> str:
    names = {trt.DataType.FLOAT: "float32", trt.DataType.HALF: "fp16", trt.DataType.BF16: "bf16"}
    for kind in (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY):
        types = [names.get(layer.get_output(0).dtype) for layer in layers if layer.type == kind]
        counts = Counter(name for name in types if name)
        if counts:
            return counts.most_common(1)[0][0]
    return "float32"


def serialize(parsed: Parsed, build: Build, options: BuildOptions, times: Path | None) -> Any:
    """Build the engine; return its bytes as TensorRT holds them, or None where the build failed.

    ``times``: the timing cache to read and to keep. Raises: what stopped the build from outside.
    """
    trt, builder = parsed.library.trt, parsed.builder
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    config.progress_monitor = build.monitor
    for asked, flag in (
        (options.refit, trt.BuilderFlag.REFIT),
        (options.version_compatible, trt.BuilderFlag.VERSION_COMPATIBLE),
        # On by default in TensorRT, and a float32 engine is asked for where rounding matters.
        (options.tf32, trt.BuilderFlag.TF32),
    ):
        (config.set_flag if asked else config.clear_flag)(flag)
    if options.effort is not None:
        config.builder_optimization_level = options.effort
    profile = builder.create_optimization_profile()
    for name, shape in parsed.shapes.items():
        profile.set_shape(name, shape, shape, shape)
    config.add_optimization_profile(profile)
    if parsed.library.rtx and options.architecture is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, options.architecture.upper()), 0)
    if times is not None:
        _read_times(config, times, build)
    plan = builder.build_serialized_network(parsed.network, config)
    if times is not None:
        _keep_times(config, times, build)
    build.raise_stopped()
    return plan


def _read_times(config: Any, path: Path, build: Build) -> None:
    try:
        cache = config.create_timing_cache(path.read_bytes())
        if cache is not None and config.set_timing_cache(cache, False):
            build.say(f"timing cache read from {path.name}")
            return
        build.say(f"timing cache {path.name} is damaged or of another device, and is started anew")
    except FileNotFoundError:
        build.say(f"timing cache {path.name} is started")
    except (OSError, RuntimeError, TypeError) as error:
        build.say(f"timing cache {path.name} could not be read ({error}), and is started anew")
    config.set_timing_cache(config.create_timing_cache(b""), False)


def _keep_times(config: Any, path: Path, build: Build) -> None:
    cache = config.get_timing_cache()
    if cache is None:
        return
    # What it saves is time: an engine that took minutes is not given up for want of it.
    try:
        atomic_write(path, lambda file: file.write(memoryview(cache.serialize())))
    except SaveError as error:
        build.say(f"timing cache not kept ({error})")
