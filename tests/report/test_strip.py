"""Figures decoded again: colours where they belong, provenance inside, nothing half written."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from diffsda.errors import InputError, SaveError
from diffsda.recipe import Recipe
from diffsda.report import canvas, mosaic
from diffsda.report.strip import save, strip

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def pixels(figure):
    """Return the figure as it is written, (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(canvas.png(figure))).convert("RGB"))


def box(picture, colour):
    """Return top, bottom, left, right and the count of a colour's pixels."""
    rows, columns = np.nonzero((picture == colour).all(axis=-1))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1, len(rows)


def flat_video(*colours, size=8):
    """Return one clip (V, 3, size, size) of plainly coloured frames in 0..1."""
    frames = np.array(colours, dtype=float) / 255
    return np.broadcast_to(frames[:, :, None, None], (len(colours), 3, size, size))


def test_video_frames_stand_side_by_side():
    picture = pixels(strip(flat_video(RED, GREEN, BLUE), limits=(0, 1)))
    red, green, blue = (box(picture, colour) for colour in (RED, GREEN, BLUE))
    assert red[3] < green[2] < green[3] < blue[2]
    assert red[:2] == green[:2] == blue[:2]
    side = 8 * 12  # eight pixels of twelve dots
    for top, bottom, left, right, count in (red, green, blue):
        assert abs(bottom - top - side) <= 2
        assert abs(right - left - side) <= 2
        assert count == (bottom - top) * (right - left)
    assert picture.shape[1] > 3 * side


def test_rows_stand_under_each_other_and_lengths_cut():
    x = np.stack([flat_video(RED, RED), flat_video(GREEN, BLUE)])
    picture = pixels(strip(x, [2, 1], titles=["first", "second"], limits=(0, 1)))
    assert box(picture, RED)[1] <= box(picture, GREEN)[0]
    assert not (picture == BLUE).all(axis=-1).any()


def test_bytes_are_drawn_as_they_are():
    x = (flat_video(RED, (10, 200, 30)) * 255).round().astype(np.uint8)
    assert box(pixels(strip(x)), (10, 200, 30))[4] > 8000


def test_grey_video():
    assert box(pixels(strip(np.full((2, 1, 8, 8), 51, np.uint8))), (51, 51, 51))[4] > 8000


def test_heat_strip_has_time_right_and_features_up():
    x = np.zeros((4, 3))
    x[3, 2] = 1.0  # last frame, last feature: top right
    low, high = (np.array(matplotlib.colormaps[canvas.CMAP](v, bytes=True)[:3]) for v in (0.0, 1.0))
    picture = pixels(strip(x))
    # The colour scale shows the lowest colour in a row or two only; the strip has it in tall columns.
    columns = np.nonzero((picture == low).all(axis=-1).sum(axis=0) > 50)[0]
    picture = picture[:, : columns.max() + 1]
    strip_box, cell = box(picture, low), box(picture, high)
    assert abs(cell[0] - strip_box[0]) <= 3
    assert abs(cell[3] - strip_box[3]) <= 3
    assert cell[4] == pytest.approx((strip_box[4] + cell[4]) / 12, rel=0.1)


def test_lines_take_the_house_colours():
    x = np.stack([np.linspace(0, 1, 9), np.linspace(1, 0, 9)], axis=1)
    picture = pixels(strip(x, lines=True, names=["up", "down"], rate=8.0, unit="m"))
    for colour in canvas.COLOURS[:2]:
        rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert box(picture, rgb)[4] > 500


def test_many_features_are_drawn_as_lines_too():
    assert pixels(strip(np.random.default_rng(0).normal(size=(2, 9, 12)), [9, 4], lines=True)).shape[0] > 400


def test_padding_never_matters():
    x = np.random.default_rng(1).normal(size=(2, 6, 3))
    dirty = x.copy()
    dirty[1, 4:] = np.nan
    assert canvas.png(strip(dirty, [6, 4])) == canvas.png(strip(np.where(np.isnan(dirty), 9.0, x), [6, 4]))


def test_titles_are_not_read_as_formulas():
    assert pixels(strip(np.zeros((1, 4, 2)), titles=["costs $5 and \\frac $6"])).shape[0] > 100


def test_provenance_comes_back(tmp_path):
    recipe = Recipe()
    figure = strip(np.zeros((4, 2)))
    path = save(figure, tmp_path / "a" / "x.png", recipe=recipe, checkpoint="c0ffee", seed=3, keys=["a", "b é"])
    text = canvas.provenance(path)
    assert text["recipe"] == recipe.digest
    assert (text["checkpoint"], text["seed"], text["keys"]) == ("c0ffee", "3", '["a", "b é"]')
    assert canvas.provenance(canvas.png(figure, steps=18))["steps"] == "18"
    assert canvas.provenance(canvas.png(figure))["seed"] == "none"


def test_same_figure_same_bytes_and_settings_are_left_alone():
    before = dict(matplotlib.rcParams)
    assert canvas.png(strip(np.eye(4))) == canvas.png(strip(np.eye(4)))
    assert dict(matplotlib.rcParams) == before


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(strip(np.eye(3)), tmp_path / "x.png")
    old = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(SaveError, match="No space left"):
        save(strip(np.eye(5)), path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_inputs_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.png"):
        save(strip(np.eye(3)), tmp_path / "x.jpg")
    with pytest.raises(InputError, match="expected 1 or 3; decode latents"):
        strip(np.zeros((2, 4, 8, 8)))
    with pytest.raises(InputError, match="2 titles, expected 1"):
        strip(np.eye(3), titles=["a", "b"])
    with pytest.raises(InputError, match="lines were asked of video"):
        strip(np.zeros((2, 3, 8, 8)), lines=True)
    with pytest.raises(InputError, match="1 names"):
        strip(np.eye(3), lines=True, names=["a"])
    with pytest.raises(InputError, match="low < high"):
        strip(np.eye(3), limits=(1, 1))
    with pytest.raises(InputError, match="not finite"):
        strip(np.full((2, 3), np.nan))
    with pytest.raises(InputError, match="got 1, expected at least 2 frames"):
        strip(np.zeros((9, 3, 8, 8)), most=1)
    with pytest.raises(InputError, match="expected vectors"):
        strip(np.zeros(3))
    with pytest.raises(InputError, match="expected a PNG"):
        canvas.provenance(b"GIF89a")


def test_frames_chosen_keep_both_ends():
    assert mosaic.chosen(8, 4).tolist() == [0, 2, 5, 7]
    assert mosaic.chosen(3, 4).tolist() == [0, 1, 2]
    assert mosaic.chosen(3, None).tolist() == [0, 1, 2]
