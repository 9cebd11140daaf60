"""Tiles of one shape, in which a clip's place changes nothing.

A result is to be the same bytes whichever clips it shares a tile with and wherever in the tile it is. Neighbours do
not touch a clip's sums; its place can: a processor's products and vector functions treat the last rows of a matrix,
or rows at odd places, by other instructions than the rest, which shows in the last bits. So before a shape is used it
is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsda.disentangler import Disentangler
from diffsda.errors import InputError
from diffsda.export.infer.contents import to_floats
from diffsda.export.infer.loading import Failure, Loaded
from diffsda.export.infer.pixels import Pixels
from diffsda.export.infer.tasks import Task

Array = np.ndarray[Any, Any]
Shapes = tuple[tuple[int, ...], ...]

HELD = 2**28
"""Bytes of clips that wait for others of their shape before a tile goes out in part."""


def compute(
    task: Task, session: Disentangler, clips: list[Loaded], seeds: list[int], tile: int, pixels: Pixels | None = None
) -> dict[str, Array]:
    """Return a task's results for clips of one shape in a tile of ``tile``, padded with the last of them.

    Shapes: results (clips, ...).
    """
    return begin(task, session, clips, seeds, tile, pixels)()


def begin(
    task: Task, session: Disentangler, clips: list[Loaded], seeds: list[int], tile: int, pixels: Pixels | None = None
) -> Callable[[], dict[str, Array]]:
    """Begin what ``compute`` does, and return a function that waits for it.

    On a GPU the work, the way back to the host included, is then in its queue; elsewhere it is done.
    """
    more = tile - len(clips)
    full = [*clips, *[clips[-1]] * more]
    given: list[Any] = [stacked([clip.clips[i] for clip in full]) for i in range(len(full[0].clips))]
    if pixels is not None:
        given = [pixels.latents(x) for x in given]
    made = task.run(session, given, [*seeds, *[seeds[-1]] * more])
    if pixels is not None:
        made = {name: pixels.bytes(value) if name in task.clips else value for name, value in made.items()}
    if any(value.is_cuda for value in made.values()):
        return _on_its_way(made, len(clips))
    done = {name: value.detach().cpu().numpy()[: len(clips)] for name, value in made.items()}
    return lambda: done


def stacked(clips: list[Array]) -> Array:
    """Return clips of one shape side by side; bytes stay bytes where all are."""
    if len({clip.dtype for clip in clips}) > 1:
        clips = [to_floats(clip) for clip in clips]
    return np.stack(clips)


def _on_its_way(made: dict[str, Tensor], count: int) -> Callable[[], dict[str, Array]]:
    """Send results to the host behind the work that makes them."""
    held = {}
    for name, value in made.items():
        held[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
        held[name].copy_(value.detach(), non_blocking=True)
    there = torch.cuda.Event()
    # Of the device the copies are from, which need not be the current one.
    there.record(torch.cuda.current_stream(next(value.device for value in made.values() if value.is_cuda)))

    def wait() -> dict[str, Array]:
        there.synchronize()
        # Copies: the memory a GPU writes to is scarce and soon used again.
        return {name: value.numpy()[:count].copy() for name, value in held.items()}

    return wait


class Sizes:
    """For each shape of clips the largest tile, the one wished for halved, in which places do not matter.

    Tried with random clips that go round the tile by one place and by half of it, with the shortest of solvers. One
    clip alone always has the same place.
    """

    def __init__(self, task: Task, session: Disentangler, tile: int, pixels: Pixels | None = None) -> None:
        self.task, self.session, self.tile, self.pixels = task.short(), session, tile, pixels
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
            first = self._compute(clips, list(range(size)), size)
        except InputError:
            # What the task refuses for these shapes it refuses again, for clips that have a key to be told by.
            return False
        for turn in sorted({1, size // 2}):
            order = np.roll(np.arange(size), turn)
            turned = self._compute([clips[i] for i in order], order.tolist(), size)
            if any(turned[name].tobytes() != value[order].tobytes() for name, value in first.items()):
                return True
        return False

    def _compute(self, clips: list[Loaded], seeds: list[int], size: int) -> dict[str, Array]:
        with nullcontext() if self.pixels is None else self.pixels.quiet():
            return compute(self.task, self.session, clips, seeds, size, self.pixels)


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
