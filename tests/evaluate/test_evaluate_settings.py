"""Settings of a protocol are checked before they do anything."""

import pytest

from diffsda.errors import InputError
from diffsda.evaluate.settings import settings

USUAL = {"runs": 3, "lr": 1e-3, "voices": True, "target": "OT", "passes": None}


def test_what_was_asked_for_takes_the_place_of_the_usual():
    made = settings({"runs": 5, "lr": 1, "voices": False, "target": "x", "passes": 7}, **USUAL)
    assert made == {"runs": 5, "lr": 1, "voices": False, "target": "x", "passes": 7}
    assert settings({}, **USUAL) == USUAL


def test_an_unknown_one_is_refused_and_a_near_one_suggested():
    with pytest.raises(InputError, match="did you mean 'runs'"):
        settings({"run": 5}, **USUAL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("runs", value) for value in (0, -1, 2.5, "3", True)),
        *(("lr", value) for value in (0, -1.0, "fast", True, float("nan"), float("inf"))),
        *(("voices", value) for value in (1, "yes")),
        *(("passes", value) for value in (None, "many", 1.5)),
        *(("target", value) for value in (1, "")),
    ],
)
def test_a_value_of_another_kind_is_refused(name, value):
    with pytest.raises(InputError, match=f"setting {name}: got"):
        settings({name: value}, **USUAL)
