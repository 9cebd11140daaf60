"""ONNX Runtime behind one call: torch tensors in, torch tensors out, copied only where they must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.utils.dlpack
from torch import Tensor

from diffsda.errors import CheckpointError, InputError, MissingPackage

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class NotHere(Exception):
    """A graph that this host's runtime has no kernels for."""


class OpenGraph:
    """A graph in ONNX Runtime.

    Shapes: as the graph's; float32 in and out. On CUDA inputs and outputs stay on the device, and a call returns before
    its work is done: the runtime puts it on ``stream``, which waits for torch's and torch's for it, never the host.
    """

    def __init__(self, session: Any, device: torch.device, stream: torch.cuda.Stream | None = None) -> None:
        self.session, self.device, self.stream = session, device, stream

    def __call__(self, given: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """Run the graph."""
        if self.device.type == "cpu":
            feeds = {name: t.detach().float().contiguous().numpy() for name, t in given.items()}
            return [torch.from_numpy(value) for value in self.session.run(list(outputs), feeds)]
        return self._bound(given, outputs)

    def _bound(self, given: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        import numpy as np
        import onnxruntime

        assert self.stream is not None
        binding, number = self.session.io_binding(), self.device.index or 0
        # Held until torch's stream waits for the other: memory freed sooner could be written to.
        held = [tensor.detach().to(self.device, torch.float32).contiguous() for tensor in given.values()]
        for name, tensor in zip(given, held):
            binding.bind_input(name, "cuda", number, np.float32, tuple(tensor.shape), tensor.data_ptr())
        for name in outputs:
            binding.bind_output(name, "cuda", number)
        how = onnxruntime.RunOptions()
        how.add_run_config_entry("disable_synchronize_execution_providers", "1")
        here = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(here)
        self.session.run_with_iobinding(binding, how)
        here.wait_stream(self.stream)
        # The runtime may use its outputs' memory again for its next call, which waits for these copies.
        return [torch.utils.dlpack.from_dlpack(value._ortvalue.to_dlpack()).clone() for value in binding.get_outputs()]


def open_graph(
    path: Path, *, provider: str = CPU, threads: int | None = None, stream: torch.cuda.Stream | None = None
) -> OpenGraph:
    """Load a graph. ``threads``: of the CPU, torch's number where left open. ``stream``: of CUDA, one of its own else.

    Raises: MissingPackage without the runtime; InputError for a provider it does not have; CheckpointError for a file
    it cannot read; NotHere for a graph of types it has no kernels for.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingPackage(
            "onnxruntime: is not installed: pip install 'diffsda[onnx]' (or onnxruntime-gpu for CUDA)"
        ) from None
    known = onnxruntime.get_available_providers()
    if provider not in known:
        raise InputError(f"provider: got {provider}, expected one of this ONNX Runtime's: {', '.join(known)}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # What goes wrong is raised; its other remarks help nobody.
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Threads that wait by turning take the cores from torch, which runs the solver between the graph's runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = [CPU]
    if provider == CUDA and torch.cuda.is_available():
        # Not torch's usual stream: the runtime takes its handle, 0, for none.
        stream = stream or torch.cuda.Stream()
        number = stream.device.index
        providers = [(CUDA, {"device_id": str(number), "user_compute_stream": str(stream.cuda_stream)}), CPU]
    elif provider != CPU:
        providers = [provider, CPU]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        words = str(error)
        if "NOT_IMPLEMENTED" in words or "unsupported type" in words or "is invalid" in words:
            raise NotHere(f"{path.name}: {words.splitlines()[0][:300]}") from None
        raise CheckpointError(f"{path}: cannot be read by ONNX Runtime ({words.splitlines()[0][:300]})") from None
    if provider != CPU and session.get_providers()[0] != provider:
        raise InputError(
            f"provider: got {provider}, which ONNX Runtime could not start; expected its CUDA libraries to be found: "
            "import torch first, or see its log"
        )
    place = torch.device("cpu") if provider != CUDA else torch.device("cuda") if stream is None else stream.device
    return OpenGraph(session, place, stream)


def on_cuda() -> bool:
    """Tell whether graphs can run on a CUDA device here: torch has one, and the runtime its provider."""
    if not torch.cuda.is_available():
        return False
    try:
        import onnxruntime
    except ImportError:
        return False
    return CUDA in onnxruntime.get_available_providers()
