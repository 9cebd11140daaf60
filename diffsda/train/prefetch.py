"""The batches of a run, step by step: the next ones are prepared and on the device while a step runs."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

import torch

from diffsda.train.data import Batch, Ready

AHEAD = 2
"""Batches prepared ahead on a device: one that waits for the step, one that is on its way."""


class Prefetch:
    """Deal out the batches of steps, in order.

    On CUDA a thread makes them ahead, in page-locked memory, and a stream of their own takes them to the device: the
    step waits for them there, not the host. On the CPU, where they are rows of what is in memory already and every
    core computes, each is made when it is asked for. ``waited`` adds up the seconds ``next`` took.
    ``make`` must be a function of the step alone; an error in it surfaces in ``next``.
    Use as a context: leaving it ends the thread, whatever it was doing.
    """

    def __init__(
        self,
        make: Callable[[int], Batch],
        steps: Iterable[int],
        parts: Sequence[slice],
        device: torch.device,
        *,
        ahead: int | None = None,
    ) -> None:
        self.waited = 0.0
        self._make, self._steps, self._parts, self._device = make, iter(steps), parts, device
        self._ahead = (AHEAD if device.type == "cuda" else 0) if ahead is None else ahead
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" and self._ahead else None
        self._queue: queue.Queue[tuple[Ready, torch.cuda.Event | None] | BaseException] = queue.Queue(self._ahead)
        self._left = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Prefetch:
        if self._ahead:
            self._thread = threading.Thread(target=self._work, name="diffsda-prefetch", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        if self._thread is not None:
            self._thread.join()

    def next(self) -> Ready:
        """Return the next step's batch.

        Raises: what making it raised.
        """
        began = time.perf_counter()
        try:
            if self._thread is None:
                return self._ready(next(self._steps))[0]
            given = self._queue.get()
        finally:
            self.waited += time.perf_counter() - began
        if isinstance(given, BaseException):
            raise given
        ready, copied = given
        if copied is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(copied)
            for tensor in ready.tensors():
                # Its memory belongs to the other stream, which must not reuse it before this one is done.
                tensor.record_stream(stream)
        return ready

    def _ready(self, step: int) -> tuple[Ready, torch.cuda.Event | None]:
        if self._stream is None:
            return Ready.of(self._make(step), self._parts, self._device), None
        with torch.cuda.stream(self._stream):
            # Made within it as well: a decoder may leave its frames on the device.
            ready = Ready.of(self._make(step), self._parts, self._device, pin=True)
        return ready, self._stream.record_event()

    def _work(self) -> None:
        try:
            for step in self._steps:
                self._offer(self._ready(step))
                if self._left.is_set():
                    return
        except BaseException as error:
            self._offer(error)

    def _offer(self, item: tuple[Ready, torch.cuda.Event | None] | BaseException) -> None:
        """Wait for room, but not for ever: the step loop may have left."""
        while not self._left.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return
