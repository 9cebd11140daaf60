"""Moving shapes show what their factors say, and swap targets are exact."""

import numpy as np
import pytest

from diffsda.data.clip import Clips
from diffsda.data.synthetic.shapes import COLOURS, SHAPES, SIZES, moving_shapes, render, swap_target
from diffsda.errors import InputError


def cover(x):
    """Coverage of white clips: 0 on the ground, 1 inside."""
    return (x[:, :, 0].astype(np.float64) + 1) / 2


def white(shape, scale):
    return np.array([[SHAPES.index(shape), list(COLOURS).index("white"), scale]], np.float64)


def test_items_depend_on_seed_and_index_alone():
    few, many, other = moving_shapes(3, seed=5), moving_shapes(9, seed=5), moving_shapes(3, seed=6)
    assert np.array_equal(few.x, many.x[:3])
    assert not np.array_equal(few.x, other.x)
    assert len(np.unique(many.x.reshape(9, -1), axis=0)) == 9


def test_values_shapes_and_labels():
    clips = moving_shapes(60, frames=6, size=20)
    assert clips.x.shape == (60, 6, 3, 20, 20)
    assert clips.x.min() == -1
    assert clips.x.max() == pytest.approx(1)
    for name in ("shape", "colour", "size"):
        assert set(clips.labels[name]) == set(range(len(clips.label_names[name])))
    for name in ("position", "direction", "path"):
        assert clips.labels[name].shape == (60, 6)
    assert np.all(clips.x[:, :, :, [0, -1], [0, -1]] == -1), "a shape leaves the frame"


@pytest.mark.parametrize(
    ("shape", "area"), [("circle", np.pi), ("square", 2.56), ("diamond", 2.0), ("triangle", 1.299)]
)
@pytest.mark.parametrize("scale", [0, 1, 2])
def test_coverage_adds_up_to_the_area(shape, area, scale):
    place = np.array([[[0.31, 0.62], [0.5, 0.5], [0.77, 0.4]]])
    x = render(white(shape, scale), place, size=64)
    radius = list(SIZES.values())[scale] * 64
    assert cover(x).sum((2, 3)) == pytest.approx(area * radius**2, rel=0.03)


def test_the_centre_of_mass_follows_the_position_by_parts_of_a_pixel():
    place = np.stack([np.linspace(0.2, 0.3, 9), np.full(9, 0.5)], 1)[None]
    seen = cover(render(white("circle", 2), place, size=16))[0]
    middle = (seen.sum(1) * (np.arange(16) + 0.5)).sum(1) / seen.sum((1, 2))
    expected = 0.22 * 16 + place[0, :, 0] * (16 - 2 * 0.22 * 16)
    assert middle == pytest.approx(expected, abs=0.03)
    inside = (seen > 0.01) & (seen < 0.99)
    assert inside.any(), "edges are not antialiased"


def test_labels_tell_what_is_seen():
    clips = moving_shapes(40, size=32)
    seen = (clips.x + 1).sum(2, dtype=np.float64)
    total = seen.sum((2, 3))
    across = (seen.sum(2) * (np.arange(32) + 0.5)).sum(-1) / total
    down = (seen.sum(3) * (np.arange(32) + 0.5)).sum(-1) / total
    third = (32 * 0.56) / 3
    column, row = clips.labels["position"] % 3, clips.labels["position"] // 3
    assert np.abs(across - (32 * 0.22 + (column + 0.5) * third)).max() <= third / 2 + 0.5
    assert np.abs(down - (32 * 0.22 + (row + 0.5) * third)).max() <= third / 2 + 0.5
    right = clips.labels["direction"][:, :-1] == 0
    left = clips.labels["direction"][:, :-1] == 2
    assert np.all(np.diff(across)[right] > 0)
    assert np.all(np.diff(across)[left] < 0)


def test_swap_target_is_exact():
    both = moving_shapes(20, seed=2)
    a, b = both.select(np.arange(10)), both.select(np.arange(10, 20))
    assert np.array_equal(swap_target(a, a), a.x)
    target = swap_target(a, b)
    same = np.all(a.factors["static"] == b.factors["static"], 1)
    assert not same.all()
    seen = np.any(target != -1, axis=2)
    assert np.all(np.ptp(target, (1, 3, 4)) > 0)
    # Colour is a's: where a shape covers a pixel fully, it is a's brightest value in every channel.
    assert target.max((1, 3, 4)) == pytest.approx(a.x.max((1, 3, 4)), abs=0.2)
    assert np.any(seen != np.any(a.x != -1, axis=2))


def test_grey_and_bad_arguments():
    assert moving_shapes(2, channels=1).x.shape == (2, 8, 1, 16, 16)
    for arguments in ({"n": 0}, {"n": 2, "frames": 1}, {"n": 2, "size": 4}, {"n": 2, "channels": 2}):
        with pytest.raises(InputError, match=r"got \d"):
            moving_shapes(**arguments)
    with pytest.raises(InputError, match="seed: got -1"):
        moving_shapes(2, seed=-1)
    with pytest.raises(InputError, match=r"n: got 2\.5"):
        moving_shapes(2.5)


def test_swap_target_refuses_other_clips():
    a = moving_shapes(2)
    with pytest.raises(InputError, match="made by moving_shapes"):
        swap_target(a, Clips(a.x))
    with pytest.raises(InputError, match="as many"):
        swap_target(a, moving_shapes(3))
