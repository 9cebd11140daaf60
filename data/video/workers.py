"""Work on many files in processes: one that crashes on a file costs that file, not the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from diffsda.errors import InputError

Call = tuple[Any, ...]


def spread(work: Callable[..., Any], calls: Sequence[Call], jobs: int) -> Iterator[tuple[int, Any]]:
    """Yield (number of the call, what ``work`` returned for it) as they are done.

    jobs: processes; 0 works in this one. A call that its process does not survive gives a BrokenProcessPool.
    Raises: what ``work`` raises.
    """
    if jobs == 0:
        for number, call in enumerate(calls):
            yield number, work(*call)
        return
    waiting = deque(enumerate(calls))
    while waiting:
        flying: dict[Future[Any], tuple[int, Call]] = {}
        yield from _until_broken(work, waiting, flying, min(jobs, len(waiting)))
        # One of these broke the pool: they are tried again one at a time, so that it shows which.
        yield from _one_by_one(work, sorted(flying.values(), key=lambda entry: entry[0]))


def in_parallel(work: Callable[[Any], Any], things: Sequence[Any], jobs: int) -> Iterator[Any]:
    """Yield what ``work`` returns for each thing, in the order of the things; with one job, in this process.

    Raises: what ``work`` raises; InputError if a process does not survive a thing.
    """
    ready: dict[int, Any] = {}
    following = 0
    for number, outcome in spread(work, [(thing,) for thing in things], jobs if jobs > 1 else 0):
        ready[number] = outcome
        while following in ready:
            outcome = ready.pop(following)
            if isinstance(outcome, BrokenProcessPool):
                raise InputError(f"{things[following]}: the process that worked on it crashed; leave it out")
            yield outcome
            following += 1


def _until_broken(
    work: Callable[..., Any], waiting: deque[tuple[int, Call]], flying: dict[Future[Any], tuple[int, Call]], jobs: int
) -> Iterator[tuple[int, Any]]:
    pool = _pool(jobs)
    try:
        while waiting or flying:
            while waiting and len(flying) < 2 * jobs:
                number, call = waiting.popleft()
                flying[_submitted(pool, work, call)] = number, call
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                return
            for future in done:
                number, _ = flying.pop(future)
                yield number, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, work: Callable[..., Any], call: Call) -> Future[Any]:
    try:
        return pool.submit(work, *call)
    except BrokenProcessPool as error:
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed


def _one_by_one(work: Callable[..., Any], calls: Sequence[tuple[int, Call]]) -> Iterator[tuple[int, Any]]:
    pool = _pool(1)
    try:
        for number, call in calls:
            try:
                yield number, pool.submit(work, *call).result()
            except BrokenProcessPool as error:
                pool = _pool(1)
                yield number, error
    finally:
        pool.shutdown()


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Spawned: a fork of a process with threads may inherit locks that nobody will open.
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_settle)


def _settle() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it: one that is killed cannot say goodbye."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
