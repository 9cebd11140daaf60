"""The traversal sheet: every walk in its row, nothing cut off or left out."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.report.canvas import png
from diffsda.report.traversal import sheet

ALPHAS = (-2.0, 0.0, 0.5)


def picture(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


@pytest.mark.parametrize("frame", [(5,), (3, 8, 8), (1, 8, 8)])
def test_rows_and_columns_are_named(frame):
    walks = np.random.default_rng(0).normal(size=(2, 3, 6, *frame))
    figure = sheet(walks, ALPHAS, titles=["clip 0, static 1", "clip 0, static 2"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-2", "0", "+0.5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["clip 0, static 1", "clip 0, static 2"]
    assert png(figure).startswith(b"\x89PNG")
    said = axes.get_xlabel()
    assert ("3 of up to 6 frames" in said) == (len(frame) == 3)


def test_one_scale_for_all_and_every_cell_shows_its_walk():
    walks = np.zeros((2, 3, 4, 1, 8, 8))
    walks[1, 2] = 1.0
    found = picture(sheet(walks, ALPHAS, most=2))
    white = np.all(found == 255, axis=-1)
    high, wide = found.shape[0] // 2, found.shape[1] // 3
    assert white[-high // 2, -wide // 2]
    assert found[high // 4, wide // 4].tolist() == [0, 0, 0]
    assert len(np.unique(found)) == 2


def test_short_clips_end_where_they_end():
    walks = np.random.default_rng(0).normal(size=(2, 3, 6, 5))
    whole, short = (picture(sheet(walks, ALPHAS, lengths=n)) for n in (None, [6, 2]))
    assert (short[-1] == 255).all(-1).sum() > (whole[-1] == 255).all(-1).sum()


@pytest.mark.parametrize(
    ("walks", "more", "words"),
    [
        (np.zeros((2, 2, 6, 5)), {}, "for 3 alphas"),
        (np.zeros((2, 3, 5)), {}, "expected \\(rows, alphas, V"),
        (np.zeros((0, 3, 6, 5)), {}, "walks \\(0, 3, 6, 5\\)"),
        (np.zeros((2, 3, 6, 5)), {"titles": ["one"]}, "got 1 titles, expected 2"),
        (np.zeros((2, 3, 6, 4, 8, 8)), {}, "decode latents first"),
        (np.zeros((2, 3, 6, 5)), {"lengths": [6, 7]}, "from 6 to 7, expected 1 to 6"),
    ],
)
def test_what_cannot_be_drawn(walks, more, words):
    with pytest.raises(InputError, match=words):
        sheet(walks, ALPHAS, **more)
