"""Between frames: what is a frame stays that frame, to the bit; codes are repeated, never blended."""

import numpy as np
import pytest
import torch

from diffsda.errors import InputError
from diffsda.tasks.timeline import evenly, linear, nearest


@pytest.mark.parametrize("frames", [2, 3, 7, 11, 101])
def test_as_many_moments_as_frames_are_the_frames(frames):
    z = torch.randn(frames, 3)
    assert evenly(frames, frames).tolist() == list(range(frames))
    assert torch.equal(linear(z, evenly(frames, frames)), z)
    assert nearest(evenly(frames, frames)).tolist() == list(range(frames))


def test_first_and_last_are_kept_and_a_line_stays_a_line():
    z = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    for count in (2, 3, 9, 12):
        made = linear(z, evenly(5, count))
        np.testing.assert_allclose(made[:, 0], np.linspace(0, 1, count), atol=1e-12)
        assert made[0] == z[0]
        assert made[-1] == z[-1]
    assert evenly(5, 1).tolist() == [0]
    assert evenly(1, 3).tolist() == [0, 0, 0]


def test_the_nearest_frame_is_the_earlier_of_two():
    assert nearest(np.array([0, 0.5, 0.51, 1.5, 2])).tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("moments", [[-0.1], [2.1], [0, 3]])
def test_there_is_nothing_outside(moments):
    with pytest.raises(InputError, match="expected 0 to 2"):
        linear(torch.zeros(3, 1), np.array(moments, float))


@pytest.mark.parametrize("sizes", [(0, 2), (2, 0)])
def test_no_frames_have_no_moments(sizes):
    with pytest.raises(InputError, match="at least one of each"):
        evenly(*sizes)
