"""Frames of one form as another's and back: what is kept exactly, what is kept on average, what cannot be matched."""

import numpy as np
import pytest

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.tasks.matching import Match, recoloured, resized


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_shrinking_by_a_whole_number_averages_blocks():
    x = pictures(2, 3, 3, 12, 8)
    wanted = x.reshape(2, 3, 3, 4, 3, 4, 2).mean((4, 6))
    np.testing.assert_allclose(resized(x, (4, 4)), wanted, atol=1e-6)


@pytest.mark.parametrize("size", [(5, 5), (7, 3), (8, 8), (11, 20), (3, 30)])
def test_the_mean_of_what_shrinks_and_every_constant_are_kept(size):
    x = pictures(1, 2, 3, 11, 20)
    np.testing.assert_allclose(resized(np.full_like(x, 0.3), size), 0.3, atol=1e-6)
    if size[0] <= 11 and size[1] <= 20:
        np.testing.assert_allclose(resized(x, size).mean((3, 4)), x.mean((3, 4)), atol=1e-6)


def test_growing_is_bilinear_between_middles():
    row = np.array([[0.0, 1.0]], np.float32)
    np.testing.assert_allclose(resized(row, (1, 4)), [[0, 0.25, 0.75, 1]], atol=1e-6)


def test_published_takes_the_nearest_pixel_and_a_whole_number_comes_back_exactly():
    x = pictures(1, 2, 3, 4, 4)
    grown = resized(x, (16, 16), "published")
    np.testing.assert_array_equal(grown, np.repeat(np.repeat(x, 4, 3), 4, 4))
    np.testing.assert_array_equal(resized(grown, (4, 4), "published"), x)
    assert not np.array_equal(resized(x, (16, 16)), grown)
    with pytest.raises(InputError, match="way: got 'cubic'"):
        resized(x, (8, 8), "cubic")


def test_the_size_they_have_changes_nothing():
    x = pictures(1, 2, 3, 4, 5)
    assert resized(x, (4, 5)) is x
    assert recoloured(x, 3) is x


def test_grey_becomes_colours_and_comes_back():
    grey = pictures(2, 3, 1, 4, 4)
    colours = recoloured(grey, 3)
    assert colours.shape == (2, 3, 3, 4, 4)
    np.testing.assert_array_equal(colours[:, :, 2:], grey)
    np.testing.assert_allclose(recoloured(colours, 1), grey, atol=1e-6)
    red = np.zeros((1, 1, 3, 1, 1), np.float32)
    red[:, :, 0] = 1
    assert recoloured(red, 1).item() == pytest.approx(0.299)
    with pytest.raises(InputError, match="channels: got clips of 4 for a model of 3"):
        recoloured(pictures(1, 2, 4, 2, 2), 3)


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_time_goes_there_and_back(rate):
    slow = np.linspace(0, 1, 9, dtype=np.float32)[None, :, None] * np.ones((2, 1, 3), np.float32)
    clips = Clips(slow, lengths=np.array([9, 5]), labels={"frame": np.tile(np.arange(9), (2, 1))})
    match = Match((3,), (3,), rate)
    seen = match.to(clips)
    assert seen.lengths.tolist() == {0.5: [5, 3], 1.0: [9, 5], 2.0: [17, 9]}[rate]
    assert match.back(seen.x, 9, clips.lengths).shape == slow.shape
    np.testing.assert_allclose(match.back(seen.x, 9, clips.lengths), clips.x, atol=1e-6)
    assert seen.labels["frame"][0, :3].tolist() == {0.5: [0, 2, 4], 1.0: [0, 1, 2], 2.0: [0, 0, 1]}[rate]
    assert not seen.x[1, seen.lengths[1] :].any()


def test_pictures_are_never_blended_in_time():
    x = pictures(1, 5, 1, 2, 2)
    match = Match((1, 2, 2), (1, 2, 2), 1.5)
    seen = match.to(Clips(x)).x
    assert seen.shape[1] == match.count(5) == 7
    assert all(any(np.array_equal(frame, other) for other in x[0]) for frame in seen[0])


def test_missing_values_are_not_blended_in_either():
    x = pictures(1, 5, 2)
    mask = np.zeros_like(x)
    mask[0, 1] = 1
    seen = Match((2,), (2,), 2.0).to(Clips(x, mask=mask))
    assert seen.mask[0, :, 0].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0]


def test_a_mask_of_pictures_ends_with_their_size():
    x = pictures(1, 2, 1, 4, 4)
    assert Match((1, 4, 4), (1, 2, 2)).to(Clips(x, mask=np.zeros_like(x))).mask is None


@pytest.mark.parametrize(
    ("given", "wanted", "rate", "words"),
    [
        ((3,), (4,), 1.0, "got vectors of 3 features, expected 4"),
        ((3,), (3, 8, 8), 1.0, "got vectors .* expected pictures"),
        ((3, 8, 8), (3,), 1.0, "got pictures .* expected vectors"),
        ((4, 8, 8), (3, 8, 8), 1.0, "got pictures of 4 channels"),
        ((3,), (3,), 0.0, "rate: got 0"),
        ((3,), (3,), float("nan"), "rate: got nan"),
    ],
)
def test_what_cannot_be_matched(given, wanted, rate, words):
    with pytest.raises(InputError, match=words):
        Match(given, wanted, rate)


def test_a_clip_too_short_for_a_rate():
    with pytest.raises(InputError, match="got 3 frames, which are 1 at the model's rate"):
        Match((2,), (2,), 0.3).to(Clips(pictures(1, 3, 2)))
