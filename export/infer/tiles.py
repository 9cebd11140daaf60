"""Tiles of one shape, in which a clip's place changes nothing.

A result is to be the same bytes whichever clips it shares a tile with and wherever in the tile it is. Neighbours do
not touch a clip's sums; its place can: a processor's products and vector functions treat the last rows of a matrix,
or rows at odd places, by other instructions than the rest, which shows in the last bits. So before a shape is used it
is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from diffsda.disentangler import Disentangler
from diffsda.errors import InputError
from diffsda.export.infer.loading import Failure, Loaded
from diffsda.export.infer.tasks import Task

Array = np.ndarray[Any, Any]
Shapes = tuple[tuple[int, ...], ...]

HELD = 2**28
"""Bytes of clips that wait for others of their shape before a tile goes out in part."""


def compute(task: Task, session: Disentangler, clips: list[Loaded], seeds: list[int], tile: int) -> dict[str, Array]:
    """Return a task's results for clips of one shape in a tile of ``tile``, padded with the last of them.

    Shapes: results (clips, ...).
    """
    more = tile - len(clips)
    full = [*clips, *[clips[-1]] * more]
    given = [np.stack([clip.clips[i] for clip in full]) for i in range(len(full[0].clips))]
    made = task.run(session, given, [*seeds, *[seeds[-1]] * more])
    return {name: value.detach().cpu().numpy()[: len(clips)] for name, value in made.items()}


class Sizes:
    """For each shape of clips the largest tile, the one wished for halved, in which places do not matter.

    Tried with random clips that go round the tile by one place and by half of it, with the shortest of solvers. One
    clip alone always has the same place.
    """

    def __init__(self, task: Task, session: Disentangler, tile: int) -> None:
        self.task, self.session, self.tile = task.short(), session, tile
        self.found: dict[Shapes, int] = {}

    def __call__(self, shapes: Shapes) -> int:
        """Return the tile for clips of these shapes."""
        if shapes not in self.found:
            size = self.tile
            while size > 1 and self._matters(shapes, size):
                size //= 2
            self.found[shapes] = size
        return self.found[shapes]

    def _matters(self, shapes: Shapes, size: int) -> bool:
        draw = np.random.default_rng(size)
        clips = [
            Loaded(str(i), tuple(draw.normal(0, 0.5, shape).astype(np.float32) for shape in shapes))
            for i in range(size)
        ]
        try:
            first = compute(self.task, self.session, clips, list(range(size)), size)
        except InputError:
            # What the task refuses for these shapes it refuses again, for clips that have a key to be told by.
            return False
        for turn in sorted({1, size // 2}):
            order = np.roll(np.arange(size), turn)
            turned = compute(self.task, self.session, [clips[i] for i in order], order.tolist(), size)
            if any(turned[name].tobytes() != value[order].tobytes() for name, value in first.items()):
                return True
        return False


def gathered(
    arriving: Iterator[Loaded | Failure], size: Callable[[Shapes], int], complete: Callable[[], bool]
) -> Iterator[Failure | tuple[list[Loaded], int]]:
    """Yield clips of one shape, as many as their tile holds, and the tile; in the end, if ``complete``, what is left.

    Where clips of many shapes wait and take much memory, the shape with the most goes out with part of a tile.
    Failures pass through.
    """
    waiting: dict[Shapes, list[Loaded]] = {}
    held = 0
    for clip in arriving:
        if isinstance(clip, Failure):
            yield clip
            continue
        group = waiting.setdefault(clip.shapes, [])
        group.append(clip)
        held += clip.bytes
        if len(group) < size(clip.shapes):
            if held <= HELD:
                continue
            group = max(waiting.values(), key=lambda group: sum(clip.bytes for clip in group))
        del waiting[group[0].shapes]
        held -= sum(clip.bytes for clip in group)
        yield group, size(group[0].shapes)
    if complete():
        for group in waiting.values():
            yield group, size(group[0].shapes)


def check_tile(tile: int) -> None:
    """Refuse a tile that holds no clip. Raises: InputError."""
    if type(tile) is not int or tile < 1:
        raise InputError(f"tile: got {tile!r}, expected a whole number of clips of at least 1")
