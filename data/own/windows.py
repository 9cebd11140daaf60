"""Series as clips: whole where they are short, in windows where they are long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from diffsda.data.check import Array
from diffsda.data.frames_moments import Moments
from diffsda.data.own.rows import Series
from diffsda.data.problems import Problems
from diffsda.errors import InputError

WHOLE_UP_TO = 1024
"""Rows up to which series are taken whole, where there are ``FEW`` of them at least or none is worth cutting."""
FEW = 8
WINDOWS = (16, 128)
"""Least and most frames of the windows that are cut where nobody says how long; some 64 windows are aimed at."""


@dataclass(frozen=True)
class Piece:
    """A clip to be: values (V_i, F) float64, NaN where one is missing; the series it is of; what is known of it."""

    key: str
    values: Array
    labels: dict[str, str] = field(default_factory=dict)


def length(series: Sequence[Series], frames: int | None, tell: Callable[[str], None]) -> int | None:
    """Return V of the windows to cut, None to take series whole.

    Raises: InputError if there is too little to cut windows from.
    """
    if frames is not None:
        if frames < 2:
            raise InputError(f"--frames: got {frames}, expected at least 2")
        return frames
    longest, total = max(map(len, series)), sum(map(len, series))
    least, most = WINDOWS
    short = longest < 2 * least
    if longest <= WHOLE_UP_TO and (len(series) >= FEW or (short and len(series) > 1)):
        return None
    if short:
        raise InputError(f"got {total} rows in {len(series)} series, expected at least {2 * least} rows in one of them")
    chosen = int(min(max(2 ** int(np.log2(max(total / 64, 1))), least), most))
    tell(f"series are cut into windows of {chosen} rows (--frames says otherwise)")
    return chosen


def cut(series: Sequence[Series], frames: int | None, problems: Problems, tell: Callable[[str], None]) -> list[Piece]:
    """Return the clips of all series: each whole, or its windows one after another without overlap.

    Series that are too short and clips without a single value are noted and left out.
    """
    pieces, rest = [], 0
    least = frames or 2
    for one in series:
        path, line = one.where
        if len(one) < least:
            problems.add(path, f"series {one.key!r} is {len(one)} rows long, expected at least {least}; left out", line)
            continue
        size = frames or len(one)
        rest += len(one) % size
        windows = [one.values[at : at + size] for at in range(0, len(one) - size + 1, size)]
        known = [window for window in windows if not np.isnan(window).all()]
        if len(known) < len(windows):
            count = len(windows) - len(known)
            problems.add(path, f"series {one.key!r} has {count} clips without any value; left out", line)
        pieces += [Piece(one.key, window, one.labels) for window in known]
    if rest:
        tell(f"{rest} rows at the ends of series fill no window and are left out")
    return pieces


def to_arrays(pieces: Sequence[Piece], words: dict[str, tuple[str, ...]], frames: int) -> dict[str, Array]:
    """Return clips as ``data.arrays`` writes them: x (N, frames, F), and lengths, mask and labels where they say more.

    words: for each label its values in words, as ``label_words`` gives them.
    """
    lengths = np.array([len(piece.values) for piece in pieces], np.int64)
    x = np.zeros((len(pieces), frames, pieces[0].values.shape[1]), np.float32)
    mask = np.zeros(x.shape, np.uint8)
    for row, piece in enumerate(pieces):
        missing = np.isnan(piece.values)
        x[row, : len(missing)] = np.where(missing, 0, piece.values)
        mask[row, : len(missing)] = missing
    arrays: dict[str, Array] = {"x": x}
    if (lengths != frames).any():
        arrays["lengths"] = lengths
    if mask.any():
        arrays["mask"] = mask
    for name, known in words.items():
        code = {word: number for number, word in enumerate(known)}
        said = [piece.key if name == "id" else piece.labels.get(name, "") for piece in pieces]
        arrays[name] = np.array([code.get(word, -1) for word in said], np.int64)
    return arrays


def label_words(pieces: Sequence[Piece]) -> dict[str, tuple[str, ...]]:
    """Return the labels of clips and for each its values in words: ``id`` for the series, and the columns of words."""
    words = {"id": tuple(dict.fromkeys(piece.key for piece in pieces))}
    for name in dict.fromkeys(name for piece in pieces for name in piece.labels):
        words[name] = tuple(sorted({piece.labels[name] for piece in pieces if name in piece.labels}))
    return words


def moments(arrays: dict[str, Array]) -> Moments:
    """Return mean and deviation of every feature over the values that are there."""
    x = arrays["x"]
    keep = np.ones(x.shape, bool)
    if "lengths" in arrays:
        keep &= (np.arange(x.shape[1])[None] < arrays["lengths"][:, None])[..., None]
    if "mask" in arrays:
        keep &= arrays["mask"] == 0
    held = Moments(x.shape[-1])
    held.add(x.reshape(-1, x.shape[-1]), keep.reshape(-1, x.shape[-1]))
    return held
