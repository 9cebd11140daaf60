"""A stand-in for TensorRT: what the bindings promise, without a library or a GPU.

Its "ONNX files" are JSON: inputs {name: [axis name or length]}, outputs likewise, layers [[kind, type]]. Everything
that is called is written down in ``calls``.
"""

import enum
import json
from pathlib import Path
from types import SimpleNamespace

from plain_manifest import describe

from diffsda.export.tensorrt import NAMES, RTX_NAMES, Library

FREE = -1


class BuilderFlag(enum.Enum):
    REFIT, TF32, VERSION_COMPATIBLE = range(3)


class DataType(enum.Enum):
    FLOAT, HALF, BF16, INT32, INT64, BOOL = range(6)


class LayerType(enum.Enum):
    CONVOLUTION, MATRIX_MULTIPLY, NORMALIZATION, ACTIVATION = range(4)


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class TensorIOMode(enum.Enum):
    INPUT, OUTPUT = range(2)


class ComputeCapability(enum.IntEnum):
    NONE, SM75, SM80, SM86, SM89, SM120, SM121 = range(7)


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    INFO, ERROR = Severity.INFO, Severity.ERROR

    def __init__(self):
        self.ready = True

    def log(self, severity, msg):
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self):
        self.ready = True

    def phase_start(self, phase_name, parent_phase, num_steps):
        raise NotImplementedError

    def step_complete(self, phase_name, step):
        raise NotImplementedError

    def phase_finish(self, phase_name):
        raise NotImplementedError


class ITensor:
    def __init__(self, name, axes, dtype=DataType.FLOAT):
        self.name, self._axes, self.dtype = name, axes, dtype
        self.shape = tuple(FREE if isinstance(a, str) else a for a in axes)

    def get_dimension_name(self, index):
        axis = self._axes[index]
        return axis if isinstance(axis, str) else None


class ILayer:
    def __init__(self, kind, dtype):
        self.type, self._dtype = LayerType[kind], DataType[dtype]

    def get_output(self, index):
        assert index == 0
        return ITensor("y", [1], self._dtype)


class INetworkDefinition:
    def __init__(self, flags):
        self._flags, self._said = flags, {"inputs": {}, "outputs": {}, "layers": []}

    def _read(self, said):
        self._said = said
        self._inputs = [ITensor(n, a) for n, a in said["inputs"].items()]
        self._outputs = [ITensor(n, a) for n, a in said["outputs"].items()]
        self._layers = [ILayer(*layer) for layer in said["layers"]]
        self.num_inputs, self.num_outputs, self.num_layers = map(len, (self._inputs, self._outputs, self._layers))

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]

    def get_layer(self, index):
        return self._layers[index]


class ParserError:
    def __init__(self, desc, node, operator):
        self._said = desc, node, operator

    def desc(self):
        return self._said[0]

    def node_name(self):
        return self._said[1]

    def node_operator(self):
        return self._said[2]


class IHostMemory(bytes):
    @property
    def nbytes(self):
        return len(self)


class ITimingCache:
    def __init__(self, entries):
        self._entries = entries

    def serialize(self):
        return IHostMemory(self._entries)


class IOptimizationProfile:
    def __init__(self):
        self._shapes = {}

    def set_shape(self, name, low, best, high):
        self._shapes[name] = (low, best, high)


class IBuilderConfig:
    def __init__(self):
        self._flags, self._cache, self._pools, self._profiles, self._capabilities = {BuilderFlag.TF32}, None, {}, [], {}
        self.progress_monitor, self.builder_optimization_level, self.num_compute_capabilities = None, 3, 0

    def set_flag(self, flag):
        self._flags.add(flag)

    def clear_flag(self, flag):
        self._flags.discard(flag)

    def set_memory_pool_limit(self, pool, size):
        self._pools[pool] = size

    def add_optimization_profile(self, profile):
        self._profiles.append(profile._shapes)
        return 0

    def create_timing_cache(self, data):
        return ITimingCache(bytes(data))

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        if cache._entries and not cache._entries.startswith(b"times"):
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache

    def set_compute_capability(self, capability, index):
        self._capabilities[index] = capability
        return True


class ICudaEngine:
    def __init__(self, plan):
        self._ports = [
            *((n, TensorIOMode.INPUT, s) for n, s in plan["inputs"].items()),
            *((n, TensorIOMode.OUTPUT, s) for n, s in plan["outputs"].items()),
        ]
        self.num_io_tensors, self.refittable = len(self._ports), plan["refit"]
        self._calls, self._plan = plan["calls"], plan

    def _port(self, name):
        return next(p for p in self._ports if p[0] == name)

    def get_tensor_name(self, index):
        return self._ports[index][0]

    def get_tensor_mode(self, name):
        return self._port(name)[1]

    def get_tensor_shape(self, name):
        return tuple(self._port(name)[2])

    def get_tensor_dtype(self, name):
        assert self._port(name)
        return DataType.FLOAT

    def create_execution_context(self):
        return None if self._plan.get("no_context") else IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine):
        self._engine, self._calls, self._addresses = engine, engine._calls, {}

    def set_input_shape(self, name, shape):
        self._calls.append(("set_input_shape", name, tuple(shape)))
        return tuple(shape) == self._engine.get_tensor_shape(name)

    def infer_shapes(self):
        self._calls.append(("infer_shapes",))
        return []

    def set_tensor_address(self, name, address):
        assert address
        self._calls.append(("set_tensor_address", name))
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        assert set(self._addresses) == {p[0] for p in self._engine._ports}
        self._calls.append(("execute_async_v3", stream))
        return not self._engine._plan.get("no_run")


def standin(package="tensorrt", version="10.16.1.11", **faults):
    """Return a Library and the log of its calls.

    Faults: builds=False, the builder gives nothing; starts=False, there is no driver; no_context, no_run.
    """
    seen = SimpleNamespace(calls=[], configs=[], networks=[], cache=b"times", runtimes=[], refits=[])

    class Builder:
        def __init__(self, logger):
            assert logger.ready
            if faults.get("starts") is False:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self._logger = logger

        def create_network(self, flags):
            network = INetworkDefinition(flags)
            seen.networks.append(network)
            return network

        def create_builder_config(self):
            seen.configs.append(IBuilderConfig())
            return seen.configs[-1]

        def create_optimization_profile(self):
            return IOptimizationProfile()

        def build_serialized_network(self, network, config):
            try:
                config.progress_monitor.phase_start("Building engine", None, 2)
                for step in range(2):
                    if not config.progress_monitor.step_complete("Building engine", step):
                        seen.calls.append(("stopped", step))
                        return None
                config.progress_monitor.phase_finish("Building engine")
            except BaseException as error:
                raise SystemError("an exception crossed into the builder, which ends the process") from error
            if config._cache is not None:
                config._cache._entries = seen.cache
            self._logger.log(Severity.INFO, "layers were timed")
            self._logger.log(Severity.VERBOSE, "every tactic by name")
            if faults.get("builds") is False:
                self._logger.log(Severity.ERROR, "out of\n memory")
                return None
            said = {
                "inputs": {t.name: t.shape for t in network._inputs},
                "outputs": {t.name: [2, 3] for t in network._outputs},
                "refit": BuilderFlag.REFIT in config._flags,
            }
            return IHostMemory(json.dumps(said).encode())

    class OnnxParser:
        def __init__(self, network, logger):
            self._network, self._errors = network, []
            assert logger.ready

        def parse_from_file(self, path):
            assert isinstance(path, str)
            said = json.loads(Path(path).read_text())
            self._errors = [ParserError(*e) for e in said.get("errors", [])]
            if not self._errors:
                self._network._read(said)
            return not self._errors

        @property
        def num_errors(self):
            return len(self._errors)

        def get_error(self, index):
            return self._errors[index]

    class Refitter:
        def __init__(self, engine, logger):
            assert isinstance(engine, ICudaEngine)
            assert logger.ready

        def refit_cuda_engine(self):
            return True

    class OnnxParserRefitter(OnnxParser):
        def refit_from_file(self, path):
            seen.refits.append(path)
            said = json.loads(Path(path).read_text())
            self._errors = [ParserError(*e) for e in said.get("errors", [])]
            return not self._errors

    class Runtime:
        def __init__(self, logger):
            self.engine_host_code_allowed, self._logger = False, logger
            seen.runtimes.append(self)

        def deserialize_cuda_engine(self, data):
            if faults.get("reads") is False:
                self._logger.log(Severity.ERROR, "wrong magic")
                return None
            return ICudaEngine({**json.loads(data), "calls": seen.calls, **faults})

    for kind in (
        *(BuilderFlag, DataType, LayerType, MemoryPoolType, NetworkDefinitionCreationFlag, TensorIOMode, ILogger),
        *(IProgressMonitor, ITensor, ILayer, INetworkDefinition, ParserError, IHostMemory, ITimingCache),
        *(IOptimizationProfile, IBuilderConfig, ICudaEngine, IExecutionContext, Builder, OnnxParser, Refitter),
        *(OnnxParserRefitter, Runtime),
    ):
        setattr(seen, kind.__name__, kind)
    seen.ComputeCapability = ComputeCapability
    return Library(seen, package, version), seen


def beyond_the_list(trt):
    """Return public members of the stand-in's classes that NAMES does not have: the code could call them unchecked."""
    wrong = set()
    for name, kind in vars(trt).items():
        if not isinstance(kind, type) or issubclass(kind, enum.Enum):
            continue
        usual = set(dir(bytes)) if issubclass(kind, bytes) else set()
        listed = {*NAMES.get(name, ()), *RTX_NAMES.get(name, ())}
        if issubclass(kind, trt.OnnxParser):
            listed |= set(NAMES["OnnxParser"])
        wrong |= {f"{name}.{m}" for m in dir(kind) if not m.startswith("_")} - {f"{name}.{m}" for m in listed | usual}
    return wrong


NETWORK = {
    "inputs": {"x": ["frames", 3, 8, 8], "scale": ["frames", 8], "shift": ["frames", 8]},
    "outputs": {"f": ["frames", 3, 8, 8]},
    "layers": [
        *(["CONVOLUTION", "HALF"], ["NORMALIZATION", "HALF"], ["ACTIVATION", "FLOAT"], ["CONVOLUTION", "HALF"]),
        *(["CONVOLUTION", "FLOAT"], ["NORMALIZATION", "FLOAT"], ["MATRIX_MULTIPLY", "FLOAT"]),
    ],
}
ENCODER = {
    "inputs": {"x": ["clips", "length", 3, 8, 8]},
    "outputs": {"static": ["clips", 4], "dynamic": ["clips", "length", 2]},
    "layers": [["MATRIX_MULTIPLY", "BF16"]],
}


def exported(folder, *, frames=10, **graphs):
    """Write an exported folder of such graphs; network and encoder unless said otherwise."""
    folder.mkdir(exist_ok=True)
    graphs = graphs or {"network": NETWORK, "encoder": ENCODER}
    for name, graph in graphs.items():
        (folder / f"{name}.onnx").write_text(json.dumps(graph))
    describe(folder, {name: (graph["inputs"], graph["outputs"]) for name, graph in graphs.items()}, frames=frames)
    return folder
