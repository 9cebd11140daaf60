"""Readings no body gives go, readings in another unit are turned back, in the authors' order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.series.physionet_clean import RULES, clean

NAN = float("nan")


@pytest.mark.parametrize(
    ("parameter", "given", "expected"),
    [
        ("DiasABP", [-1, 0, 1, 60, 200, 201], [NAN, NAN, 1, 60, 200, NAN]),
        ("SysABP", [0, 1, 260], [NAN, 1, 260]),
        ("MAP", [0.5, 80], [NAN, 80]),
        ("NIDiasABP", [0, 58], [NAN, 58]),
        ("NIMAP", [0, 78], [NAN, 78]),
        ("NISysABP", [0, 118], [NAN, 118]),
        ("HR", [0, 80, 299, 300], [NAN, 80, 299, NAN]),
        ("PaCO2", [0.3, 4, 40], [NAN, 40, 40]),
        ("PaO2", [0, 9, 19, 20, 90], [NAN, 90, 190, 20, 90]),
        ("pH", [0.74, 74, 740, 7.4, 6.4, 8.1, 0.5], [7.4, 7.4, 7.4, 7.4, NAN, NAN, NAN]),
        ("Temp", [36.7, 98.6, 20, 46, 0.5, 5, 26, 95, 113], [36.7, 37.0, NAN, NAN, NAN, 41.0, 26, NAN, NAN]),
        ("RespRate", [0, 18], [NAN, 18]),
        ("WBC", [0.1, 9], [NAN, 9]),
        ("Weight", [-1, 34.9, 35, 80, 299, 300], [NAN, NAN, 35, 80, 299, NAN]),
        ("Age", [54, 130, 200], [54, 130, 91.4]),
        ("Gender", [-1, 0, 1], [NAN, 0, 1]),
        ("Height", [-1, 1.8, 18, 70, 175, 1750, 400], [NAN, 180, 180, 154, 175, 175, 157.48]),
        ("GCS", [-1, 3, 15], [-1, 3, 15]),
    ],
)
def test_values(parameter, given, expected):
    assert clean(parameter, np.array(given, float)) == pytest.approx(expected, nan_ok=True)


BOUNDS = {"pH": (6.5, 8.0), "Temp": (25, 45), "HR": (1, 299), "Weight": (35, 299), "DiasABP": (1, 200)}


@given(st.sampled_from(sorted(BOUNDS)), st.lists(st.floats(-1e6, 1e6), max_size=30))
def test_nothing_is_left_outside_its_bounds(parameter, values):
    least, most = BOUNDS[parameter]
    given = np.array(values, float)
    cleaned = clean(parameter, given)
    assert cleaned.shape == given.shape
    left = cleaned[~np.isnan(cleaned)]
    assert np.all((left >= least) & (left <= most))
    assert np.array_equal(given, np.array(values, float)), "what is handed in stays"


@given(st.sampled_from(sorted(RULES)), st.floats(-100, 1000))
def test_a_missing_value_stays_missing_and_neighbours_do_not_matter(parameter, value):
    alone = clean(parameter, np.array([value]))
    among = clean(parameter, np.array([1.0, np.nan, value, 400.0]))
    assert np.isnan(among[1])
    assert alone[0] == among[2] or np.isnan([alone[0], among[2]]).all()
