"""Swaps read by a judge: is what was to be kept still there, is what was to come there, and are both at once?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.inception import classes_in, distributions
from diffsda.evaluate.lengths import Array

Read = ArrayLike | Mapping[str, ArrayLike]


class SwapAccuracy(NamedTuple):
    """Shares of swapped clips in [0, 1]; ``intervals`` says how sure they are."""

    static: float
    """Read as the label of the clip that lent the static factor: all such labels, where there are several."""
    dynamic: float
    """Read as the label of the clip that lent the dynamics."""
    joint: float
    """Both in the same clip; never above either."""


def swap_accuracy(read_static: Read, read_dynamic: Read, static: Read, dynamic: Read) -> SwapAccuracy:
    """Score what a judge read of P swaps against the labels of their donors.

    Shapes: read_* probabilities (P, K), class k in column k, or labels (P,); static, dynamic labels (P,), of the
    donors. Several attributes, all of which must be right, are dicts of these by name, or labels (P, A) both.
    Source: DiViD section 4.2.2. Differs: there a role has one label.
    Raises: InputError if there is no swap, names or shapes differ, a probability is none, or a label is not known.
    """
    kept, came = _all_right(read_static, static, "static"), _all_right(read_dynamic, dynamic, "dynamic")
    if len(kept) != len(came):
        raise InputError(f"swap accuracy: got {len(kept)} static and {len(came)} dynamic labels, expected as many")
    return SwapAccuracy(float(kept.mean()), float(came.mean()), float((kept & came).mean()))


def _all_right(read: Read, labels: Read, role: str) -> Array:
    """Return (P,) booleans: whether all attributes of a role were read right."""
    said = read if isinstance(read, Mapping) else {role: read}
    wanted = labels if isinstance(labels, Mapping) else {role: labels}
    if not wanted or set(said) != set(wanted):
        raise InputError(
            f"swap accuracy: got {', '.join(said) or 'nothing'} read and {', '.join(wanted) or 'no'} {role} labels, "
            "expected the same names, at least one"
        )
    right = [_right(said[name], label, f"swap accuracy, {name}") for name, label in wanted.items()]
    if len({len(one) for one in right}) > 1:
        raise InputError(f"swap accuracy: got {role} labels of {[len(one) for one in right]} swaps, expected as many")
    return np.logical_and.reduce(right)


def _right(read: ArrayLike, labels: ArrayLike, name: str) -> Array:
    """Return (P,) booleans: whether what was read is the label, or are all labels of a row."""
    given, wanted = np.asarray(read), np.asarray(labels)
    if given.ndim == 2 and wanted.ndim == 1:
        table = distributions(given, name)
        return table.argmax(axis=1) == classes_in(wanted, table.shape, name)
    if given.ndim not in (1, 2) or not given.size or wanted.shape != given.shape:
        raise InputError(f"{name}: got {given.shape} read and labels {wanted.shape}, expected (P,) both and P >= 1")
    if any(values.dtype.kind in "if" and not (values >= 0).all() for values in (given, wanted)):
        raise InputError(f"{name}: a label is NaN or below 0, which stands for none; leave such swaps out")
    return (given == wanted).reshape(len(given), -1).all(axis=1)
