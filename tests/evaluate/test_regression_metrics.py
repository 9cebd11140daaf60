"""Absolute errors and predictors that look at nothing, by hand."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.regression import constant_predictor, mean_absolute_error, month_of_year_predictor


def test_error_by_hand():
    assert mean_absolute_error([[1, 2], [3, -4]], [[2, 2], [1, -1]]) == 1.5
    for truth, predicted in (([1, 2], [1]), ([], []), ([1, np.nan], [1, 1]), ([1, 1], [1, np.inf])):
        with pytest.raises(InputError):
            mean_absolute_error(truth, predicted)


def test_the_constant_is_the_best_there_is():
    values = np.array([1.0, 2, 4, 8, 100, np.nan])
    constant = constant_predictor(values)
    assert constant == 4
    known = values[:-1]
    errors = [mean_absolute_error(known, np.full(5, other)) for other in np.linspace(0, 100, 1001)]
    assert mean_absolute_error(known, np.full(5, constant)) <= min(errors) + 1e-12
    with pytest.raises(InputError, match="no value"):
        constant_predictor([np.nan])


def test_months_by_hand():
    # January and March twice, with a value that is not known; nothing of the other months.
    values = [[1.0, 3.0], [5.0, 7.0], [10.0, np.nan], [20.0, 30.0]]
    told = month_of_year_predictor(values, np.array([0, 0, 2, 2]), np.array([0, 2, 1, 11, 3, 7]))
    # August is five months from both.
    assert told.tolist() == [4.0, 20.0, 12.0, 4.0, 20.0, 12.0]


def test_december_lies_beside_january():
    assert month_of_year_predictor([1.0, 9.0], np.array([1, 6]), np.array([12])).tolist() == [1.0]
    assert month_of_year_predictor([1.0, 9.0], np.array([0, 6]), np.array([9])).tolist() == [5.0]


def test_a_month_without_a_value_is_not_seen():
    assert month_of_year_predictor([np.nan, 9.0], np.array([1, 6]), np.array([1])).tolist() == [9.0]


def test_what_is_no_month_is_refused():
    for months in (np.array([-1]), np.array([13]), np.array([0.5])):
        with pytest.raises(InputError, match="months"):
            month_of_year_predictor([1.0], months, np.array([1]))
    with pytest.raises(InputError, match="expected"):
        month_of_year_predictor([1.0, 2.0], np.array([1]), np.array([1]))
    with pytest.raises(InputError, match="no value"):
        month_of_year_predictor([np.nan], np.array([1]), np.array([1]))
