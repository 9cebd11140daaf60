"""A CUDA graph of a whole computation with inputs and outputs that stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Place:
    """Where graphs that are replayed one at a time are captured: one pool, and one stream, so that they share memory.

    The allocator hands a block to the stream it was made on alone; graphs of several streams would share nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)


class Captured:
    """A function of tensors, captured once and replayed for every further set of inputs of the same shapes.

    The function is run once beforehand on a side stream: kernels are compiled and compared, algorithms chosen,
    workspaces made. Replays copy the inputs in and the results out; nothing else is launched from the host.
    """

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Tensor], place: Place) -> None:
        self.inputs = [t.clone() for t in inputs]
        self.graph = torch.cuda.CUDAGraph()
        stream = place.stream
        here = torch.cuda.current_stream(stream.device)
        stream.wait_stream(here)
        with torch.cuda.stream(stream), torch.no_grad():
            function(*self.inputs)
        here.wait_stream(stream)
        capture = torch.cuda.graph(
            self.graph,
            pool=place.pool,
            stream=stream,
            capture_error_mode="thread_local",  # Other threads may go on with what a capture must not.
        )
        # The outer context leads back to this stream even where the end of a broken capture raises.
        with torch.cuda.stream(here), capture, torch.no_grad():
            self.result = function(*self.inputs)

    def __call__(self, *inputs: Tensor) -> Any:
        """Replay on other inputs; the result is overwritten by the next replay of a graph of the same pool."""
        for held, given in zip(self.inputs, inputs):
            held.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.result
