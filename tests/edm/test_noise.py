"""Noise with a seed a sample."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError

LIKE = torch.zeros(1)


@given(seed=st.integers(0, 2**40), batch=st.integers(1, 4), pick=st.data())
def test_a_sample_s_noise_depends_on_its_seed_only(seed, batch, pick):
    i = pick.draw(st.integers(0, batch - 1))
    many, one = SampleNoise(seed, (batch, 3, 2), like=LIKE), SampleNoise([seed + i], (1, 3, 2), like=LIKE)
    for _ in range(2):  # the second draw as well
        assert torch.equal(many()[i], one()[0])


def test_draws_differ_and_are_unit_gaussian():
    source = SampleNoise(0, (4, 5, 1000), like=LIKE)
    first, second = source(), source()
    assert first.shape == (4, 5, 1000)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert first.mean().item() == pytest.approx(0, abs=0.03)
    assert first.std().item() == pytest.approx(1, abs=0.03)


def test_shared_noise_is_one_frame_s():
    noise = SampleNoise(0, (2, 5, 3, 4, 4), like=LIKE.double(), shared=True)()
    assert noise.shape == (2, 5, 3, 4, 4)
    assert noise.dtype == torch.float64
    assert torch.equal(noise, noise[:, :1].expand_as(noise))
    assert not torch.equal(noise[0], noise[1])


def test_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    SampleNoise(3, (2, 5), like=LIKE)()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("seed", [[1], [1, 2, 3], -1, [0, -2]])
def test_seeds_that_do_not_fit(seed):
    with pytest.raises(InputError, match="seed"):
        SampleNoise(seed, (2, 5), like=LIKE)
