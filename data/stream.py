"""Clips that are read while a model trains: what is asked of them, and what asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from diffsda.data.check import Array

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Take:
    """One reading of one item of a set.

    The seed draws window and augmentation; None is the item's fixed view, from frame 0 on and as it is.
    """

    item: int
    seed: int | None = None


class Stream(Protocol):
    """Clips of one shape that lie on disk, read when they are asked for.

    A stream has no state: order, epochs, shards and resuming are in the takes it is asked for.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    """(V, C, H, W) or (V, F) of every clip."""
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None
    """Mean and standard deviation a channel, measured on the training part; None where there are none."""
    options: dict[str, Any]
    """What decided the content of the set."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def labels(self) -> dict[str, Array]:
        """Return what is known of the items: arrays (N,), int64."""
        ...

    def batches(self, takes: Iterable[Sequence[Take]]) -> Iterator[Array]:
        """Yield a float32 array (B, *shape) for each sequence of B takes, in order, reading ahead.

        Pixels lie in [-1, 1]. Raises: InputError naming a file that cannot be read.
        """
        ...

    def describe(self) -> str:
        """Say in one line what reads the clips, and why that."""
        ...

    def fingerprint(self) -> str:
        """Return a SHA-256 that changes with the items and their order, by which what was begun knows its clips."""
        ...


class Watch(Protocol):
    """Told what goes by and how much there is of it; passes it on."""

    def __call__(self, things: Iterable[Thing], total: int, words: str) -> Iterator[Thing]:
        """Yield the things, ``total`` of them, which are ``words``."""
        ...


def unwatched(things: Iterable[Thing], total: int, words: str) -> Iterator[Thing]:
    """Watch nothing."""
    yield from things
