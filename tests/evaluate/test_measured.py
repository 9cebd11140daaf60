"""A mean and what was missed: they cannot contradict each other."""

import pytest

from diffsda.errors import InputError
from diffsda.evaluate.measured import Measured

NAN = float("nan")


def test_a_value_where_something_was_found():
    held = Measured(0.5, 0.25, 4)
    assert (held.value, held.missed, held.count) == (0.5, 0.25, 4)
    assert Measured(NAN, 1.0, 4).missed == 1.0


@pytest.mark.parametrize(("value", "missed", "count"), [(0.0, 1.0, 4), (NAN, 0.5, 4), (1.0, 0.0, 0), (1.0, -0.1, 4)])
def test_what_cannot_be(value, missed, count):
    with pytest.raises(InputError, match="measured: got"):
        Measured(value, missed, count)
