"""The swap grid: who stands where, in pictures and in vectors."""

import io

import numpy as np
import pytest
from PIL import Image

from diffsda.errors import InputError
from diffsda.report import canvas, mosaic
from diffsda.report.grid import swap_grid


def video(red, green):
    """Return a clip (2, 3, 8, 8) of one colour: red names its static donor, green its dynamic donor."""
    return np.broadcast_to(np.array([red, green, 50], np.uint8)[:, None, None], (2, 3, 8, 8))


STATIC = np.stack([video(100, 0), video(200, 0)])
DYNAMIC = np.stack([video(0, 80), video(0, 160), video(0, 240)])
SWAPS = np.stack([[video(r, g) for g in (80, 160, 240)] for r in (100, 200)])


def middle(picture, colour):
    """Return the middle (y, x) of a colour, which must be there."""
    rows, columns = np.nonzero((picture == colour).all(axis=-1))
    assert len(rows) > 50, colour
    return rows.mean(), columns.mean()


def pixels(figure):
    """Return the figure as it is written, (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(canvas.png(figure))).convert("RGB"))


def test_cell_i_j_keeps_static_i_and_takes_dynamics_j():
    picture = pixels(swap_grid(STATIC, DYNAMIC, SWAPS))
    for i, red in enumerate((100, 200)):
        left = middle(picture, STATIC[i, 0, :, 0, 0])
        for j, green in enumerate((80, 160, 240)):
            top = middle(picture, DYNAMIC[j, 0, :, 0, 0])
            y, x = middle(picture, (red, green, 50))
            assert abs(y - left[0]) < 1.5
            assert abs(x - top[1]) < 1.5
            assert x > left[1]
            assert y > top[0]


def test_long_titles_fit_on_the_canvas():
    names = (["a static donor with a very long name indeed"] * 2, ["a dynamic donor with a very long name"] * 3)
    picture = pixels(swap_grid(STATIC, DYNAMIC, SWAPS, titles=names))
    assert picture.shape[1] > pixels(swap_grid(STATIC, DYNAMIC, SWAPS)).shape[1] + 200
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == 255).all()


def test_vectors_of_unequal_length():
    rng = np.random.default_rng(0)
    x, n = rng.normal(size=(3, 6, 4)), np.array([6, 3, 4])
    swaps = rng.normal(size=(3, 3, 6, 4))
    dirty = swaps.copy()
    dirty[:, 1, 3:], dirty[:, 2, 4:] = np.nan, np.inf  # as long as the donor of the dynamics
    clean = canvas.png(swap_grid(x, x, swaps, static_lengths=n, dynamic_lengths=n, limits=(-2, 2)))
    assert canvas.png(swap_grid(x, x, dirty, static_lengths=n, dynamic_lengths=n, limits=(-2, 2))) == clean
    lengths = np.broadcast_to(n, (3, 3))
    given = swap_grid(x, x, dirty, static_lengths=n, dynamic_lengths=n, swap_lengths=lengths, limits=(-2, 2))
    assert canvas.png(given) == clean


def test_all_cells_share_one_scale():
    dim, bright = np.zeros((1, 3, 2)), np.ones((1, 3, 2))
    picture = pixels(swap_grid(dim, bright, 0.5 * np.ones((1, 1, 3, 2))))
    for value in (0.0, 0.5, 1.0):
        middle(picture, mosaic.heat(np.full((1, 1), value), (0.0, 1.0))[0, 0])


def test_one_feature_over_many_frames_is_no_sliver():
    x = np.random.default_rng(0).normal(size=(2, 90, 1))
    height, width, _ = pixels(swap_grid(x, x, np.stack([x, x]))).shape
    assert 0.4 < height / width < 1.5


def test_lay_puts_cells_where_it_says():
    cells = [[None, np.zeros((2, 3, 3), np.uint8)], [np.ones((4, 1, 3), np.uint8), None]]
    picture, rows, columns = mosaic.lay(cells, gap=2)
    assert picture.shape == (8, 6, 3)
    assert (rows, columns) == ([0.5, 5.5], [0.0, 4.0])
    assert (picture[:2, 3:] == 0).all()
    assert (picture[4:, :1] == 1).all()
    assert (picture == 255).all(axis=-1).sum() == 48 - 6 - 4


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match=r"expected \(I, J, frames, ...\) with I = 2"):
        swap_grid(STATIC, DYNAMIC, SWAPS[:, :2])
    with pytest.raises(InputError, match="frames of one shape"):
        swap_grid(STATIC, DYNAMIC[..., :4], SWAPS)
    with pytest.raises(InputError, match="2 names of static donors and 3"):
        swap_grid(STATIC, DYNAMIC, SWAPS, titles=(["a"], ["b"]))
    with pytest.raises(InputError, match="grid, dynamic donors"):
        swap_grid(STATIC, DYNAMIC, SWAPS, dynamic_lengths=[2, 2, 3])
    with pytest.raises(InputError, match="grid, swaps"):
        swap_grid(STATIC, DYNAMIC, SWAPS, swap_lengths=[[1, 1], [1, 1]])
