"""How far a spectrogram is from the original, in units that do not depend on loudness or on the mel bin."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import finite, sequences
from diffsda.evaluate.reconstruction import mse

DEVIATION = 0.5
"""Standard deviation of a normalised mel bin: what the authors' code brings spectrograms to."""


def spectrogram_mse(made: ArrayLike, real: ArrayLike, std: ArrayLike, lengths: ArrayLike | None = None) -> float:
    """Return the mean squared difference of log mel spectrograms, each bin first brought to deviation 0.5.

    Predicting the training mean costs 0.25 on clips that are like those of training; the mean itself cancels.
    Shapes: made, real (N, V, F), log mel; std (F,) of the bins of the training part; lengths (N,).
    Source: DiffSDA appendix G.3 and Table 12; the normalisation is the authors' code's, 0.5 (x - mean) / std.
    Raises: InputError as ``mse``, and for deviations of another number of bins, or one that is not positive.
    """
    made, real = sequences(made, "spectrogram"), sequences(real, "spectrogram")
    scale = np.asarray(std, dtype=np.float64)
    if real.ndim != 3 or scale.shape != real.shape[2:]:
        raise InputError(f"spectrogram: got clips {real.shape} and std {scale.shape}; expected (N, V, F) and (F,)")
    if not (finite(scale, "spectrogram std") > 0).all():
        raise InputError("spectrogram: got a bin of deviation 0 or less, expected positive numbers")
    return mse(made * (DEVIATION / scale), real * (DEVIATION / scale), lengths)
