"""A set of clips: the one form in which data reaches training, evaluation and export."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from diffsda.data.check import Array, check
from diffsda.errors import InputError

__all__ = ["Clips", "check"]


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one kind, checked and zero padded.

    Shapes: x (N, V, C, H, W) video or (N, V, F) vectors, float32; lengths (N,) int64, or None where all are
    V long; mask like x, float32, 1 = missing, or None; labels (N,) for what a clip keeps, (N, V) for what a
    frame shows, int64, -1 = no label (always so past a clip's end).
    Raises: InputError where arrays do not fit together (see ``check``).
    """

    x: Array
    lengths: Array | None = None
    mask: Array | None = None
    labels: dict[str, Array] = field(default_factory=dict)
    label_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For each label its values in words; may be left out."""
    factors: dict[str, Array] = field(default_factory=dict)
    """What made clips were drawn from: static (N, S) and dynamic (N, V, D), float64. Empty for real data."""
    name: str = "clips"
    source: str = ""

    def __post_init__(self) -> None:
        x, lengths, mask = check(self.x, self.lengths, self.mask)
        labels = {name: _check_label(name, label, x, lengths) for name, label in self.labels.items()}
        for name, words in self.label_names.items():
            if name not in labels:
                raise InputError(f"label_names: got names for {name!r}, expected only labels: {_list(labels)}")
            if labels[name].max() >= len(words):
                raise InputError(
                    f"label {name!r}: got value {labels[name].max()}, expected at most {len(words) - 1}: "
                    f"{len(words)} names are given"
                )
        for name, factor in self.factors.items():
            if len(factor) != len(x):
                raise InputError(f"factors {name!r}: got {len(factor)} rows, expected {len(x)}, one a clip")
        for name, value in (("x", x), ("lengths", lengths), ("mask", mask), ("labels", labels)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def video(self) -> bool:
        """Tell whether a frame is an image (C, H, W) and not a vector (F,)."""
        return self.x.ndim == 5

    @property
    def frames(self) -> int:
        """V, the frames of the longest clip, padding included."""
        return int(self.x.shape[1])

    def fingerprint(self) -> str:
        """Return a SHA-256 of the clips in their order: values, lengths, mask."""
        total = hashlib.sha256(repr(self.x.shape).encode())
        for array in (self.x, self.lengths, self.mask):
            total.update(b"-" if array is None else np.ascontiguousarray(array).data)
        return total.hexdigest()

    def select(self, rows: Any) -> Clips:
        """Return the clips at the given rows, in that order.

        rows: whole numbers (one or many), a slice, or N booleans.
        Raises: InputError if a row is not there or none is left.
        """
        try:
            chosen = np.atleast_1d(np.arange(len(self))[rows])
        except IndexError as error:
            raise InputError(f"rows: {error}; expected rows 0 to {len(self) - 1} or {len(self)} booleans") from None
        if chosen.ndim != 1 or not chosen.size:
            raise InputError(f"rows: got shape {chosen.shape}, expected a list of at least one row")
        return replace(
            self,
            x=self.x[chosen],
            lengths=None if self.lengths is None else self.lengths[chosen],
            mask=None if self.mask is None else self.mask[chosen],
            labels={name: label[chosen] for name, label in self.labels.items()},
            factors={name: factor[chosen] for name, factor in self.factors.items()},
        )

    def split(self, share: float, seed: int, by: str | None = None) -> tuple[Clips, Clips]:
        """Hold out a share of the clips; return (fit, held_out), each in the order the clips came in.

        share: the part held out, between 0 and 1, rounded to whole clips.
        by: a label (N,) whose every value keeps that share; a value with two clips or more is on both sides.
        Raises: InputError if a side would be empty or the label is not one a clip.
        """
        if isinstance(share, bool) or not 0 < share < 1:
            raise InputError(f"share: got {share!r}, expected a number between 0 and 1, the part held out")
        group = np.zeros(len(self), np.int64) if by is None else self._clip_label(by)
        draw = np.random.default_rng(seed)
        held = np.zeros(len(self), bool)
        for value in np.unique(group):
            members = draw.permutation(np.flatnonzero(group == value))
            count = min(max(round(share * len(members)), 1), len(members) - 1)
            held[members[:count]] = True
        if not held.any():
            raise InputError(
                f"split: got {len(self)} clips with no two of a kind, expected two at least to hold one out"
            )
        return self.select(~held), self.select(held)

    def _clip_label(self, name: str) -> Array:
        whole = {key: label for key, label in self.labels.items() if label.ndim == 1}
        if name not in whole:
            near = difflib.get_close_matches(name, whole, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"by: got {name!r}, expected a label a clip: {_list(whole)}{hint}")
        return whole[name]


def _check_label(name: str, label: Any, x: Array, lengths: Array | None) -> Array:
    label = np.asarray(label)
    if label.dtype.kind not in "iub" or label.shape not in (x.shape[:1], x.shape[:2]):
        raise InputError(
            f"label {name!r}: got {label.dtype} values of shape {label.shape}, "
            f"expected integers {x.shape[:1]} or {x.shape[:2]}"
        )
    label = label.astype(np.int64)
    if label.ndim == 2 and lengths is not None:
        label[np.arange(x.shape[1])[None] >= lengths[:, None]] = -1
    return label


def _list(names: dict[str, Any]) -> str:
    return ", ".join(names) or "none"
