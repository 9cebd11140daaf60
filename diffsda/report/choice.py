"""Which clips a report shows: few, unlike each other, the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffsda.evaluate.lengths import Array, Ints
from diffsda.evaluate.roles import roles

if TYPE_CHECKING:
    from diffsda.data.clip import Clips


def chosen(clips: Clips, count: int, seed: int) -> tuple[Ints, Ints]:
    """Return the rows of static and of dynamics donors, at most ``count`` of each, no clip in both where there is room.

    Drawn from ``seed``. Donors go first whose labels differ from those taken before: what they lend, then the rest.
    """
    order = np.random.default_rng(seed).permutation(len(clips))
    static, dynamic = roles(clips.name, tuple(clips.labels))
    givers = _unlike(clips, (static, dynamic), order, count)
    left = np.array([row for row in order if row not in set(givers.tolist())])
    takers = _unlike(clips, (dynamic, static), left if len(left) else order, count)
    return givers, takers


def titles(clips: Clips, rows: Ints) -> list[str]:
    """Name clips by their place in the set."""
    return [f"clip {row}" for row in rows]


def described(clips: Clips, rows: Ints) -> tuple[tuple[str, ...], ...]:
    """Return a row of words a clip: its name, and what its labels say of it as a whole."""
    whole = [name for name, label in clips.labels.items() if label.ndim == 1]
    return tuple(
        (title, *(_word(clips, name, int(clips.labels[name][row])) for name in whole))
        for title, row in zip(titles(clips, rows), rows, strict=True)
    )


def columns(clips: Clips) -> tuple[str, ...]:
    """Return what the words of ``described`` are."""
    return ("clip", *(name for name, label in clips.labels.items() if label.ndim == 1))


def _word(clips: Clips, name: str, value: int) -> str:
    words = clips.label_names.get(name, ())
    return "\u2013" if value < 0 else words[value] if value < len(words) else str(value)


def _unlike(clips: Clips, names: Sequence[Sequence[str]], order: Array, count: int) -> Ints:
    """Take rows in order, first those that share the fewest labels with the ones taken: of the first names, then
    of the next.
    """
    taken: list[int] = []
    labels = [[clips.labels[name].reshape(len(clips), -1) for name in some] for some in names]
    while len(taken) < min(count, len(order)):
        left = [int(row) for row in order if row not in taken]
        alike = [
            tuple(sum(bool((label[row] == label[t]).all()) for label in some for t in taken) for some in labels)
            for row in left
        ]
        taken.append(min(zip(alike, range(len(left)), left, strict=True))[2])
    return np.array(taken, np.int64)
