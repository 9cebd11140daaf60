"""One process or many: what ``torchrun`` sets up, and how the processes speak to each other."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from diffsda.errors import DiffSDAError, InputError

_wrapped: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""What holds on to the process group, for ``leave`` to find."""


@dataclass(frozen=True)
class Processes:
    """This process among all of them."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes."""
        if self.world == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value / self.world

    @torch.no_grad()
    def share_norms(self, model: nn.Module, averages: Mapping[str, Tensor] | None = None) -> None:
        """Give the running statistics of batch norms, and averages of them, their mean over the processes.

        Each process normalises by its own clips while it trains, and its statistics follow those. They are moving
        averages, so it does not matter when, or how often, the mean over processes is taken.
        """
        if self.world == 1:
            return
        norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        held = [value for norm in norms for value in (norm.running_mean, norm.running_var)]
        for value in [*held, *(averages or {}).values()]:
            if value is not None:
                value.copy_(self.mean(value))

    def least(self, value: int | None) -> int | None:
        """Return the smallest of the numbers the processes hold, or None if none of them holds one."""
        if self.world == 1:
            return value
        none = torch.iinfo(torch.int64).max
        held = torch.tensor(none if value is None else value, dtype=torch.int64, device=self.device)
        dist.all_reduce(held, op=dist.ReduceOp.MIN)
        return None if int(held) == none else int(held)

    def wait(self) -> None:
        """Let all processes reach this point."""
        if self.world > 1:
            dist.barrier()


def place_of(device: str = "auto") -> torch.device:
    """Return the device of this process, and make it the current one.

    ``device``: auto (CUDA where there is one), cpu, cuda (the one of this process's number on its host), or cuda:N.
    Raises: InputError for a device this machine does not have.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError:
        raise InputError(f"device: got {device!r}, expected auto, cpu, cuda or cuda:N") from None
    if place.type not in ("cpu", "cuda"):
        raise InputError(f"device: got {device!r}, expected auto, cpu, cuda or cuda:N")
    if place.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"device: got {device!r}, but no CUDA device is usable here; use cpu or auto")
        local = int(os.environ.get("LOCAL_RANK", 0))
        place = torch.device("cuda", local if place.index is None else place.index)
        if place.index >= torch.cuda.device_count():
            raise InputError(f"device: got {place}, but this machine has {torch.cuda.device_count()} CUDA devices")
        torch.cuda.set_device(place)
    return place


def join(device: str = "auto") -> Processes:
    """Join the processes ``torchrun`` started, or be the only one, on a device as ``place_of`` says.

    Raises: InputError for a device this machine does not have.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    place = place_of(device)
    if world > 1 and not dist.is_initialized():
        # DistributedDataParallel imports it. Imported after the group is made, its default arguments hold the group
        # for ever, and the group's threads with it.
        importlib.import_module("torch.distributed.nn.functional")
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return Processes(rank, world, place)


def leave() -> None:
    """Leave the process group, if any; its threads have ended when this returns.

    A thread of the group that outlives the interpreter brings the process down on the way out (SIGABRT), after
    all went well. The threads end with the group, and the group when nothing refers to it: not the wrapped models
    of ``wrap``, which cannot be trained after this, and not the frames of an error that is on its way.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    error = sys.exception()
    if error is not None:
        if not isinstance(error, DiffSDAError):
            # It may have come from within a backward pass. Ending the threads would wait for a reduction the other
            # processes never finish, as they wait for ours; leaving at once tells them.
            return
        traceback.clear_frames(error.__traceback__)
    for model in list(_wrapped):
        for name in ("reducer", "logger", "process_group"):
            model.__dict__.pop(name, None)
    _wrapped.clear()
    gc.collect()
    dist.destroy_process_group()


def wrap(model: nn.Module, processes: Processes, *, parts: int = 1) -> nn.Module:
    """Wrap a model so that its gradients are averaged over the processes; a lone process needs nothing.

    ``parts``: backward passes a step. With one, every step is the same graph, which lets the wrapper plan ahead.
    """
    if processes.world == 1:
        return model
    ids = [processes.device.index] if processes.device.type == "cuda" else None
    wrapper = nn.parallel.DistributedDataParallel(
        model,
        device_ids=ids,
        gradient_as_bucket_view=True,
        static_graph=parts == 1,
        # Constants, made from the same seed everywhere, or statistics of norms: see ``share_norms``.
        broadcast_buffers=False,
    )
    _wrapped.add(wrapper)
    return wrapper
