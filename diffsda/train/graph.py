"""A whole training step as one CUDA graph: the host says go once a step."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.kernels.backend import chosen
from diffsda.recipe import AnyRecipe, Recipe
from diffsda.train.data import Batch, Ready
from diffsda.train.optim import FusedAdamW
from diffsda.train.options import Options
from diffsda.train.parallel import Processes
from diffsda.train.step import TrainStep

WARM_UP = 3
"""Steps done before the capture, so that whatever is chosen, compiled or allocated on first use is there."""


def check_graph(options: Options, recipe: AnyRecipe, processes: Processes) -> None:
    """Refuse what a graph cannot hold.

    Raises: InputError off CUDA, with several processes, or where recomputed dropout would differ.
    """
    if not options.graph:
        return
    if not isinstance(recipe, Recipe):
        raise InputError(f"graph: got a recipe of {recipe.system}, expected one of diffsda; leave out --graph")
    if processes.device.type != "cuda":
        raise InputError(f"graph: got device {processes.device}, expected a CUDA device; leave out --graph")
    if processes.world > 1:
        raise InputError(f"graph: got {processes.world} processes, expected one; leave out --graph")
    dropout = max(recipe.backbone.dropout, recipe.encoder.dropout)
    if options.recompute and dropout and chosen("group_norm") != "triton":
        raise InputError(
            f"graph: got recomputation and dropout {dropout} with kernels {chosen('group_norm')!r}, expected ours, "
            "which drop the same again in a graph (DIFFSDA_KERNELS=triton); or leave out --graph or --recompute"
        )


class GraphedStep:
    """Do what ``TrainStep`` does, from the fourth call on as the replay of a graph.

    The graph holds forward and backward of every part, clipping, AdamW, the average and the guard. What changes from
    step to step is in tensors it reads: clips, noise, the number of values, the step, the learning rate and the
    average's decay. The first calls are ordinary steps on the same memory, on the stream of the capture; capturing
    computes nothing, so no state needs to be put back. Torch's own dropout follows the generator's seed and offset
    as they are at a replay, ours its state on the device: both drop what they would without a graph.
    Shapes: those of the first call, at every call.
    Raises: InputError for another shape.
    """

    def __init__(self, step: TrainStep) -> None:
        device = step.processes.device
        if not isinstance(step.optimizer, FusedAdamW):
            raise InputError(f"graph: got {type(step.optimizer).__name__}, expected FusedAdamW")
        self.step, self.optimizer = step, step.optimizer
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self._calls = 0
        self._inputs: tuple[tuple[Batch, ...], list[tuple[Tensor, ...]]] | None = None
        self._count, self._rate = (torch.zeros((), device=device) for _ in range(2))
        self._number = torch.zeros((), dtype=torch.int64, device=device)
        self._result: tuple[Tensor, Tensor] | None = None
        if self.optimizer.average is not None:
            self.optimizer.decay = torch.zeros((), device=device)
        # Gradients stay where they are: the table of their addresses is part of the graph.
        self.gradients = [torch.zeros_like(p) for p in step.parameters]
        for p, gradient in zip(step.parameters, self.gradients):
            p.grad = gradient

    def __call__(self, ready: Ready, step: int, rate: float) -> tuple[Tensor, Tensor]:
        """Update the weights; return loss and gradient norm, which the next call overwrites."""
        self._take(ready, self.step.begin(ready, step))
        self._count.fill_(self.step.count(ready))
        self._number.fill_(step)
        self._rate.fill_(rate)
        average = self.optimizer.average
        if average is not None and self.optimizer.decay is not None:
            self.optimizer.decay.fill_(average.next_decay)
        here = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            if self.graph is None:
                self._run(capture=self._calls == WARM_UP)
            else:
                # What the capture's Python did, a replay does not do.
                self.step.passed()
                if average is not None:
                    average.updates += 1
            if self.graph is not None:
                self.graph.replay()
        here.wait_stream(self.stream)
        self._calls += 1
        assert self._result is not None
        return self._result

    def _run(self, *, capture: bool) -> None:
        group, rate = self.optimizer.param_groups[0], self.optimizer.param_groups[0]["lr"]
        group["lr"] = self._rate
        try:
            if capture:
                graph = torch.cuda.CUDAGraph()
                # Another thread may be copying the next batch to the device meanwhile.
                with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                    self._result = self._work()
                self.graph = graph
            else:
                self._result = self._work()
        finally:
            group["lr"] = rate  # A state dict holds a number.

    def _work(self) -> tuple[Tensor, Tensor]:
        assert self._inputs is not None
        torch._foreach_zero_(self.gradients)
        return self.step.work(*self._inputs, self._count, self._number)

    def _take(self, ready: Ready, noises: list[tuple[Tensor, ...]]) -> None:
        """Copy a step's inputs to where the graph reads them."""
        given = [*ready.tensors(), *(t for pair in noises for t in pair)]
        if self._inputs is None:
            held = tuple(part.clone() for part in ready.parts), [tuple(t.clone() for t in part) for part in noises]
            self._inputs, self._shapes = held, [t.shape for t in given]
            self._held = [*(t for part in held[0] for t in part.tensors()), *(t for pair in held[1] for t in pair)]
            return
        if [t.shape for t in given] != self._shapes:
            raise InputError(
                f"graph: got clips {tuple(ready.shape)} after others, expected the same shape at every step"
            )
        torch._foreach_copy_(self._held, given)
