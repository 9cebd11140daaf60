"""Clips put together to the utterances they were cut from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Floats, Ints, valid

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

LABEL, ORDER = "utterance", "chunk"


@dataclass(frozen=True, eq=False)
class Utterances:
    """Which clips make up which utterance.

    Shapes: ids (U,), values of the label ``utterance``, or the clips' places; rows: for each its clips, in order.
    """

    ids: Ints
    rows: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, places: Array) -> Utterances:
        """Return some of the utterances."""
        return Utterances(self.ids[places], tuple(self.rows[place] for place in places))

    def mean(self, embeddings: ArrayLike) -> Floats:
        """Return embeddings (U, E) of utterances: the mean over their clips' (N, E)."""
        x = np.asarray(embeddings, np.float64)
        return np.stack([x[rows].mean(0) for rows in self.rows])

    def label(self, values: ArrayLike, name: str) -> Array:
        """Return the label (U,) that the clips' (N,) agree on.

        Raises: InputError if those of an utterance do not.
        """
        values = np.asarray(values)
        for place, rows in enumerate(self.rows):
            if len(np.unique(values[rows])) > 1:
                raise InputError(f"{name}: got several of utterance {self.ids[place]}, expected one: see its clips")
        return values[np.array([rows[0] for rows in self.rows], np.int64)]

    def joined(self, x: Array, lengths: Array | None = None) -> list[Array]:
        """Return the frames of each utterance, its clips one after the other: x (N, V, ...) -> arrays (T, ...)."""
        count = valid(lengths, *x.shape[:2])
        return [np.concatenate([x[row, : count[row]] for row in rows]) for rows in self.rows]


def utterances(clips: Clips) -> Utterances:
    """Return the utterances of a set; if there is no label ``utterance``, or one clip lacks it, every clip is one."""
    places = np.arange(len(clips))
    of = clips.labels.get(LABEL)
    if of is None or of.ndim != 1 or (of < 0).any():
        return Utterances(places, tuple(places[:, None]))
    order = clips.labels.get(ORDER)
    by = np.lexsort((places if order is None or order.ndim != 1 else order, of))
    ids, starts = np.unique(of[by], return_index=True)
    return Utterances(ids, tuple(np.split(by, starts[1:])))
