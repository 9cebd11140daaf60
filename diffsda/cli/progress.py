"""Progress on a terminal: bars on stderr, nothing when nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

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
def training_bar(description: str) -> Iterator[Any]:
    """Watch a training: called with step, total and the latest values."""
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
            text = f"{description}  loss {values['loss']:.4f}  {values['clips_per_s']:.0f} clips/s"
            bar.update(task, completed=step, total=total, description=text)

        yield show


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
