"""Average keypoint distance: by hand, with missing points, and as the authors count."""

import math

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.keypoints import average_keypoint_distance

RNG = np.random.default_rng(0)


def faces(frames=4, points=5):
    return RNG.uniform(0, 64, size=(frames, points, 2))


def without(points, *frames):
    held = points.copy()
    held[list(frames)] = np.nan
    return held


def test_same_points_are_no_distance_apart():
    held = faces()
    for as_published in (False, True):
        got = average_keypoint_distance(held, held, as_published)
        assert (got.value, got.missed, got.count) == (0.0, 0.0, 4)


def test_by_hand():
    real = np.zeros((1, 2, 2))
    made = np.array([[[3.0, -4.0], [1.0, 0.0]]])
    assert average_keypoint_distance(made, real).value == pytest.approx((7 + 1) / 2)
    assert average_keypoint_distance(made, real, as_published=True).value == pytest.approx((3 + 4 + 1 + 0) / 4)


def test_the_published_mean_is_half():
    a, b = faces(), faces()
    ours, theirs = (average_keypoint_distance(a, b, p).value for p in (False, True))
    assert ours == pytest.approx(2 * theirs)
    assert ours == pytest.approx(np.abs(a - b).sum(-1).mean())


def test_missing_frames_drop_out_and_are_told():
    a, b = faces(), faces()
    kept = np.abs(a - b).sum(-1)[[0, 3]].mean()
    got = average_keypoint_distance(without(a, 1), without(b, 2))
    assert (got.value, got.missed, got.count) == (pytest.approx(kept), 0.5, 4)
    # The authors' swap table drops them too.
    swap = average_keypoint_distance(without(a, 1), without(b, 2), as_published=True)
    assert (swap.value, swap.missed) == (pytest.approx(kept / 2), 0.5)


def test_the_published_reconstructions_count_a_lost_face_as_no_error():
    a, b = faces(), faces()
    each = np.abs(a - b).mean((1, 2))
    # Frame 1 is lost in the reconstruction: distance 0, counted. Frame 2 has no face to begin with: left out.
    got = average_keypoint_distance(without(a, 1), without(b, 2), as_published=True, table="reconstruction")
    assert got.value == pytest.approx((each[0] + 0 + each[3]) / 3)
    assert got.missed == 0.5
    honest = average_keypoint_distance(without(a, 1), without(b, 2), table="reconstruction")
    assert honest.value == pytest.approx((each[0] + each[3]) / 2 * 2)


@pytest.mark.parametrize("as_published", [False, True])
@pytest.mark.parametrize("table", ["swap", "reconstruction"])
def test_nothing_found_is_never_zero(as_published, table):
    held = faces()
    lost = without(held, 0, 1, 2, 3)
    for a, b in ((lost, held), (held, lost), (lost, lost), (without(held, 0, 1), without(held, 2, 3))):
        got = average_keypoint_distance(a, b, as_published, table=table)
        assert math.isnan(got.value)
        assert (got.missed, got.count) == (1.0, 4)


def test_bodies_lose_single_joints():
    a, b = np.zeros((2, 2, 2)), np.ones((2, 2, 2))
    a[0, 1], b[1] = np.nan, [[5.0, 5.0], [1.0, 1.0]]
    got = average_keypoint_distance(a, b)
    assert got.value == pytest.approx((2 + 10 + 2) / 3)
    assert got.missed == 0.25


def test_clips_of_frames_are_frames():
    a, b = faces(6), faces(6)
    flat = average_keypoint_distance(a, b)
    assert average_keypoint_distance(a.reshape(2, 3, 5, 2), b.reshape(2, 3, 5, 2)) == flat


def test_inputs_that_do_not_fit():
    held = faces()
    with pytest.raises(InputError, match="expected the same shape"):
        average_keypoint_distance(held, held[:2])
    with pytest.raises(InputError, match=r"expected \(N, K, 2\)"):
        average_keypoint_distance(held[..., :1], held[..., :1])
    with pytest.raises(InputError, match=r"expected \(N, K, 2\)"):
        average_keypoint_distance(held[:0], held[:0])
    for bad in (np.nan, np.inf):
        broken = held.copy()
        broken[0, 0, 0] = bad
        with pytest.raises(InputError, match="half NaN or infinite"):
            average_keypoint_distance(held, broken)
    with pytest.raises(InputError, match="'swap' or 'reconstruction'"):
        average_keypoint_distance(held, held, table="swaps")
