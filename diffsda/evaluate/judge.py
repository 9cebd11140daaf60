"""A judge: reads a clip's label from the clip itself, to say what a swapped clip looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Array, Floats, finite
from diffsda.evaluate.probe import linear, mean_over_time


@dataclass(frozen=True)
class Judge:
    """A linear reader of the time-mean of a clip, fitted on real clips only.

    Source: the judged-classifier protocol of the disentanglement papers. Differs: theirs is a deep network
    a data set; this one is small enough to fit in a second and needs no weights.
    """

    reader: Any
    width: int
    """Values of one frame, C * H * W or F."""

    @classmethod
    def fit(cls, x: ArrayLike, labels: ArrayLike, lengths: ArrayLike | None = None) -> Judge:
        """Fit on real clips; those whose label is not known (below 0) are left out.

        Shapes: x (N, V, F) or (N, V, C, H, W); labels (N,); lengths (N,).
        Raises: InputError if shapes do not fit or there are fewer than two classes.
        """
        features = _features(x, lengths)
        labels = _labels(labels, len(features))
        known = _known(labels)
        return cls(linear(features[known], labels[known]), features.shape[1])

    def predict(self, x: ArrayLike, lengths: ArrayLike | None = None) -> Array:
        """Return the label read from each clip, (N,).

        Raises: InputError if a frame is not of the size the judge was fitted on.
        """
        features = _features(x, lengths)
        if features.shape[1] != self.width:
            raise InputError(f"judge: got frames of {features.shape[1]} values, expected {self.width}")
        return np.asarray(self.reader.predict(features))

    def share(self, x: ArrayLike, labels: ArrayLike, lengths: ArrayLike | None = None) -> float:
        """Return the share of clips read as the given labels, in [0, 1], of those whose label is known (0 or above).

        Raises: InputError if shapes do not fit, or no label is known.
        """
        read = self.predict(x, lengths)
        labels = _labels(labels, len(read))
        known = _known(labels)
        if not known.any():
            raise InputError(f"judge: got {len(labels)} clips without a known label, expected one at least")
        return float(np.mean(read[known] == labels[known]))


def _features(x: ArrayLike, lengths: ArrayLike | None) -> Floats:
    mean = mean_over_time(x, lengths)
    return finite(mean.reshape(len(mean), -1), "judge")


def _labels(labels: ArrayLike, clips: int) -> Array:
    labels = np.asarray(labels)
    if labels.shape != (clips,):
        raise InputError(f"judge: got labels {labels.shape}, expected ({clips},), one a clip")
    return labels


def _known(labels: Array) -> Array:
    return labels >= 0 if labels.dtype.kind in "if" else np.ones(len(labels), bool)
