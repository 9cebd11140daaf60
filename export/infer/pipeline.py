"""Read, work and write side by side, with bounded queues between: however long the job, memory stays flat."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

Unit = TypeVar("Unit")
Read = TypeVar("Read")
Made = TypeVar("Made")

PAUSE = 0.05
"""Seconds between looks at whether all is to stop, for a thread that waits."""


class Pipeline(Generic[Unit, Read, Made]):
    """Threads that read, the caller's own that works, and threads that write.

    ``read`` turns a unit into what it holds, ``write`` keeps one thing made; both are called from several threads.
    ``depth`` things at most wait on either side of the work. The first error in any thread stops all and is raised by
    ``run``; what was made before is written, unless writing is what failed. ``stopping`` is asked now and then whether
    to read no more.
    """

    def __init__(
        self,
        read: Callable[[Unit], Iterable[Read]],
        write: Callable[[Made], None],
        *,
        depth: int,
        stopping: Callable[[], bool],
        readers: int = 1,
        writers: int = 1,
    ) -> None:
        self._read, self._write, self._stopping = read, write, stopping
        self._incoming: queue.Queue[Read | None] = queue.Queue(depth)
        self._outgoing: queue.Queue[Made | None] = queue.Queue(depth)
        self._halt = threading.Event()
        self._errors: list[BaseException] = []
        self._taking = threading.Lock()
        self._readers, self._writers = readers, writers

    def run(self, units: Iterable[Unit], work: Callable[[Iterator[Read]], Iterator[Made]]) -> None:
        """Send what the units hold through ``work`` in this thread; return when all it made is written.

        Raises: the first error of any thread.
        """
        source = iter(units)
        threads = [threading.Thread(target=self._feed, args=(source,), daemon=True) for _ in range(self._readers)]
        writers = [threading.Thread(target=self._drain, daemon=True) for _ in range(self._writers)]
        for thread in (*threads, *writers):
            thread.start()
        try:
            for made in work(self._arriving()):
                self._put(self._outgoing, made)
        finally:
            self._halt_reading(threads)
            self._finish_writing(writers)
        if self._errors:
            raise self._errors[0]

    def _halt_reading(self, threads: list[threading.Thread]) -> None:
        self._halt.set()
        for thread in threads:
            thread.join()

    def _finish_writing(self, threads: list[threading.Thread]) -> None:
        """Let the writers come to the end of their queue, so that nothing is lost on the way out."""
        for thread in threads:
            while thread.is_alive():
                with contextlib.suppress(queue.Full):
                    self._outgoing.put(None, timeout=PAUSE)
                thread.join(PAUSE)

    def _feed(self, source: Iterator[Unit]) -> None:
        try:
            while not self._halt.is_set():
                with self._taking:
                    unit = next(source, None)
                if unit is None:
                    break
                for thing in self._read(unit):
                    self._put(self._incoming, thing)
                    if self._halt.is_set():
                        return
            self._put(self._incoming, None)
        except BaseException as error:
            self._fail(error)

    def _arriving(self) -> Iterator[Read]:
        ended = 0
        while ended < self._readers and not self._stopping():
            if self._errors:
                raise self._errors[0]
            try:
                thing = self._incoming.get(timeout=PAUSE)
            except queue.Empty:
                continue
            if thing is None:
                ended += 1
            else:
                yield thing

    def _drain(self) -> None:
        try:
            while (made := self._outgoing.get()) is not None:
                self._write(made)
        except BaseException as error:
            self._fail(error)

    def _put(self, where: queue.Queue[Any], thing: object) -> None:
        """Wait for room; give up when all is to stop, with the error if there is one and this is the working thread."""
        while True:
            if where is self._outgoing and self._errors:
                raise self._errors[0]
            try:
                where.put(thing, timeout=PAUSE)
                return
            except queue.Full:
                if where is self._incoming and self._halt.is_set():
                    return

    def _fail(self, error: BaseException) -> None:
        self._errors.append(error)
