"""How far predicted numbers are off, and predictors that look at no input at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.lengths import Floats, finite


def mean_absolute_error(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean distance of predictions from the truth, in its unit.

    Shapes: truth, predicted (...), the same.
    Source: DiffSDA appendix E (MAE).
    Raises: InputError if shapes differ, there is no value or one is not finite.
    """
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if truth.shape != predicted.shape or not truth.size:
        raise InputError(
            f"mean absolute error: got truth {truth.shape}, predicted {predicted.shape}; expected the same, not empty"
        )
    return float(np.abs(finite(truth, "truth") - finite(predicted, "predicted")).mean())


def constant_predictor(fit: ArrayLike) -> float:
    """Return the one number that is nearest to all of ``fit`` in the mean: their median.

    Shapes: fit (...); NaN, a value that is not known, is passed over.
    Raises: InputError if no value is known.
    """
    values = np.asarray(fit, np.float64)
    known = values[~np.isnan(values)]
    if not known.size:
        raise InputError("constant predictor: got no value that is known, expected at least one")
    return float(np.median(finite(known, "constant predictor")))


def month_of_year_predictor(fit: ArrayLike, fit_months: ArrayLike, months: ArrayLike) -> Floats:
    """Predict for each clip the median of all values that were seen in the same month of a year.

    Shapes: fit (N, ...) values, NaN where not known; fit_months (N,), months (M,), counted from 0 or from 1; result
    (M,). A month that was not seen gets the mean of the nearest one or two's medians, December beside January.
    Raises: InputError if shapes do not fit, a month is none, or no value is known.
    """
    values, seen, asked = np.asarray(fit, np.float64), np.asarray(fit_months), np.asarray(months)
    if values.ndim < 1 or seen.shape != values.shape[:1] or asked.ndim != 1:
        raise InputError(
            f"month of year: got values {values.shape}, months {seen.shape} and {asked.shape}; expected (N, ...), (N,) "
            "and (M,)"
        )
    for months_given in (seen, asked):
        if months_given.dtype.kind not in "iu" or (
            months_given.size and not 0 <= months_given.min() <= months_given.max() <= 12
        ):
            raise InputError("month of year: got something else than months, expected whole numbers from 0 to 12")
    constant_predictor(values)
    of = {}
    for month in np.unique(seen):
        ours = values[seen == month]
        if not np.isnan(ours).all():
            of[int(month)] = constant_predictor(ours)
    return np.array([_nearest(of, int(month)) for month in asked], np.float64)


def _nearest(of: dict[int, float], month: int) -> float:
    away = {one: min((one - month) % 12, (month - one) % 12) for one in of}
    least = min(away.values())
    return float(np.mean([of[one] for one, distance in away.items() if distance == least]))
