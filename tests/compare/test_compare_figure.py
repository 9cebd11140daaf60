"""The figure of a comparison: as many clips in every column, on the scale of the real ones."""

import numpy as np
import pytest

from diffsda.compare.figure import compare_figure
from diffsda.errors import InputError


def column(*levels, frames=5):
    return [np.full((frames, 3), level) for level in levels]


def test_a_system_that_is_far_off_does_not_change_the_scale():
    figure = compare_figure([("static", column(0, 1)), ("dynamics", column(0, 1)), ("wild", column(90, -90))])
    assert figure.axes[-1].get_ylim() == (0.0, 1.0)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["static", "dynamics", "wild"]


def test_video_is_shown_as_some_of_its_frames():
    clip = np.zeros((9, 3, 8, 8))
    figure = compare_figure([("static", [clip]), ("truth", [clip[:2]])])
    assert "4 of up to 9 shown" in figure.axes[0].get_xlabel()
    assert len(figure.axes) == 1


def test_columns_have_as_many_clips():
    with pytest.raises(InputError, match=r"columns of \[1, 2\] clips"):
        compare_figure([("a", column(0)), ("b", column(0, 1))])
    with pytest.raises(InputError, match="expected as many"):
        compare_figure([("a", [])])
