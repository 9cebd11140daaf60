"""Work done ahead of its use by a few threads, handed over in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")
Made = TypeVar("Made")

MOST_WORKERS = 8


def workers() -> int:
    """Return how many threads to use where nobody says."""
    return min(MOST_WORKERS, os.cpu_count() or 1)


def ahead(make: Callable[[Thing], Made], things: Iterable[Thing], count: int) -> Iterator[tuple[Thing, Future[Made]]]:
    """Yield each thing with what is made of it, in order; ``result()`` gives it or raises what went wrong.

    Decoders and transforms leave the interpreter free while they work, so that threads are enough. No more is made
    ahead than four times the number of threads.
    """
    waiting: deque[tuple[Thing, Future[Made]]] = deque()
    pool = ThreadPoolExecutor(count, thread_name_prefix="ahead")
    try:
        for thing in things:
            waiting.append((thing, pool.submit(make, thing)))
            if len(waiting) >= 4 * count:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
