"""Progress on a terminal: bars on stderr, nothing when nobody watches."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffsda.data.stream import Thing, Watch
    from diffsda.disentangler import Progress
    from diffsda.tasks.batches import Track


@contextmanager
def solver_bar(description: str) -> Iterator[Track]:
    """Watch solver steps over all batches."""
    if not sys.stderr.isatty():
        yield lambda total: _tenths(description, total)
        return
    with _bar() as bar:

        def track(total: int) -> Progress:
            task = bar.add_task(description, total=total)

            def watch(steps: Iterable[Any]) -> Iterator[Any]:
                for step in steps:
                    yield step
                    bar.advance(task)

            return watch

        yield track


def _tenths(description: str, total: int) -> Progress:
    """Say every tenth of the way, from half a minute on: short work needs no words."""
    began, done, said = time.monotonic(), 0, 0

    def watch(steps: Iterable[Any]) -> Iterator[Any]:
        nonlocal done, said
        for step in steps:
            yield step
            done += 1
            if 10 * done // total > said and time.monotonic() - began > 30:
                said = 10 * done // total
                print(f"{description}: solver step {done}/{total}", file=sys.stderr)

    return watch


@contextmanager
def training_bar(description: str, unit: str = "clips") -> Iterator[Any]:
    """Watch a training: called with step, total and the latest values; its ``clips_per_s`` are of that unit."""
    if not sys.stderr.isatty():
        last = [-1]

        def say(step: int, total: int, values: dict[str, float]) -> None:
            tenth = 10 * step // total
            if tenth != last[0]:
                last[0] = tenth
                print(f"{description}: step {step}/{total}, loss {values['loss']:.4f}", file=sys.stderr)

        yield say
        return
    with _bar() as bar:
        task = bar.add_task(description, total=None)

        def show(step: int, total: int, values: dict[str, float]) -> None:
            text = f"{description}  loss {values['loss']:.4f}  {values['clips_per_s']:.0f} {unit}/s"
            bar.update(task, completed=step, total=total, description=text)

        yield show


@contextmanager
def clip_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Watch clips go by, told how many are finished and how many there are, with clips/s and the time left.

    A bar on a terminal; else lines, the first after ``PAUSES[0]`` seconds, whether a clip is finished by then or not.
    """
    if not sys.stderr.isatty():
        with _Lines(description) as lines:
            yield lines.count
        return
    with _bar() as bar:
        task, began = bar.add_task(description, total=None), time.monotonic()

        def show(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=done, total=total, description=f"{description}  {rate:.3g} clips/s")

        yield show


PAUSES = (3.0, 10.0, 30.0)
"""Seconds of silence before the first line, the second, and every further one: short work needs no words."""


class _Lines:
    """Say how far the work is from a thread of its own, so that a long step is not taken for one that hangs."""

    def __init__(self, description: str) -> None:
        self.description, self.began = description, time.monotonic()
        self.done = self.total = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> _Lines:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join()

    def count(self, done: int, total: int) -> None:
        self.done, self.total = done, total

    def _speak(self) -> None:
        for pause in itertools.chain(PAUSES[:-1], itertools.repeat(PAUSES[-1])):
            if self.ended.wait(pause):
                return
            print(self.line(time.monotonic() - self.began), file=sys.stderr, flush=True)

    def line(self, seconds: float) -> str:
        if not self.done:
            return f"{self.description}: no clip finished yet"
        rate = self.done / seconds
        left = timedelta(seconds=round((self.total - self.done) / rate))
        return f"{self.description}: clip {self.done}/{self.total}, {rate:.3g} clips/s, {left} left"


@contextmanager
def telling(description: str) -> Iterator[Callable[[str], None]]:
    """Say what is being done, in one line that changes; line by line where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda words: print(f"{description}: {words}", file=sys.stderr, flush=True)
        return
    from rich.console import Console

    with Console(stderr=True).status(description) as status:
        yield lambda words: status.update(f"{description}: {words}")


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


@contextmanager
def counting() -> Iterator[Watch]:
    """Watch things go by, one bar a kind; where nobody watches, tell every tenth from some seconds on."""
    if not sys.stderr.isatty():
        yield _told
        return
    with _bar() as bar:

        def watch(things: Iterable[Thing], total: int, words: str) -> Iterator[Thing]:
            task = bar.add_task(words, total=total)
            for thing in things:
                yield thing
                bar.advance(task)

        yield watch


def _told(things: Iterable[Thing], total: int, words: str) -> Iterator[Thing]:
    began, said = time.monotonic(), 0
    for done, thing in enumerate(things, 1):
        yield thing
        if 10 * done // max(total, 1) > said and time.monotonic() - began > 5:
            said = 10 * done // total
            print(f"{words}: {done}/{total}", file=sys.stderr, flush=True)
