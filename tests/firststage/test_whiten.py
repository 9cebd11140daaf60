"""Whitening: measured, applied, undone, stored."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffsda import Whitening
from diffsda.errors import InputError


@given(
    seed=st.integers(0, 1000),
    video=st.booleans(),
    mean=st.floats(-100, 100),
    deviation=st.floats(0.01, 100),
)
def test_undoing_is_the_inverse(seed, video, mean, deviation):
    shape = (2, 3, 4, 2, 2) if video else (2, 3, 4)
    x = mean + deviation * np.random.default_rng(seed).normal(size=shape)
    w = Whitening.measure(x)
    np.testing.assert_allclose(w.undo(w.apply(x)), x, atol=1e-9 * (abs(mean) + deviation))
    flat = w.apply(x).swapaxes(0, 2).reshape(4, -1)
    np.testing.assert_allclose(flat.mean(1), 0, atol=1e-7)
    np.testing.assert_allclose(flat.std(1), 0.5, rtol=1e-7)


def test_tensors_and_arrays_alike():
    x = np.random.default_rng(0).normal(3, 2, size=(4, 5, 3, 2, 2)).astype(np.float32)
    w = Whitening.measure(x)
    given_ = w.apply(torch.from_numpy(x))
    assert given_.dtype == torch.float32
    assert w.apply(x).dtype == np.float32
    np.testing.assert_allclose(given_.numpy(), w.apply(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(w.undo(given_).numpy(), x, rtol=1e-5, atol=1e-5)


def test_padding_and_missing_values_are_left_out():
    x = np.random.default_rng(0).normal(size=(3, 6, 2))
    lengths, mask = np.array([6, 2, 4]), np.zeros_like(x)
    mask[0, 1, 0] = mask[2, 3, 1] = 1
    real = [np.concatenate([clip[:n, c][m[:n, c] == 0] for clip, m, n in zip(x, mask, lengths)]) for c in range(2)]
    x[mask == 1] = 1e6
    x[1, 2:] = -1e6
    x[2, 4:] = 1e6
    w = Whitening.measure(x, lengths, mask)
    np.testing.assert_allclose(w.mean, [r.mean() for r in real])
    np.testing.assert_allclose(w.std, [r.std() for r in real])


def test_padding_that_is_not_a_number_is_left_out_too():
    x = np.ones((2, 3, 1)) * np.arange(3)[None, :, None]
    x[1, 2] = np.nan
    w = Whitening.measure(x, np.array([3, 2]))
    np.testing.assert_allclose(w.mean, [0.8])


def test_a_channel_that_never_varies_keeps_its_scale():
    w = Whitening.measure(np.full((2, 3, 1), 7.0))
    assert (w.mean, w.std) == ((7.0,), (1.0,))
    assert not w.apply(np.full((2, 3, 1), 7.0)).any()


def test_large_offsets_do_not_cancel():
    x = 1e4 + np.random.default_rng(0).normal(0, 0.1, size=(50, 20, 1)).astype(np.float32)
    assert Whitening.measure(x.astype(np.float32)).std[0] == pytest.approx(x.std(dtype=np.float64), rel=0.02)


def test_stored_and_read():
    w = Whitening((1.0, 2.0), (3.0, 4.0))
    assert Whitening.from_dict(w.to_dict()) == w
    theirs = {"mean": np.array([[1.0, 2.0]]), "variance": np.array([9.0, 16.0])}
    assert Whitening.from_dict(theirs) == w
    assert Whitening.from_dict(theirs | {"std": np.array([3.0, 4.0])}) == w


@pytest.mark.parametrize(
    ("mean", "std"), [((), ()), ((1.0,), (1.0, 2.0)), ((float("nan"),), (1.0,)), ((1.0,), (0.0,)), ((1.0,), (-1.0,))]
)
def test_statistics_that_make_no_sense(mean, std):
    with pytest.raises(InputError, match="whitening"):
        Whitening(mean, std)


def test_other_refusals():
    with pytest.raises(InputError, match="2 channels on axis 2"):
        Whitening((1.0, 2.0), (3.0, 4.0)).apply(np.zeros((3, 4, 5)))
    with pytest.raises(InputError, match="expected mean and std"):
        Whitening.from_dict({"average": [1.0]})
    with pytest.raises(InputError, match="not finite"):
        Whitening.from_dict({"mean": [10**400], "std": [1.0]})


def test_small_units_are_not_taken_for_a_constant():
    draw = np.random.default_rng(0)
    x = np.stack([draw.normal(0, 1e-9, (9, 8)), np.full((9, 8), 7.0), draw.normal(5, 1e-3, (9, 8))], axis=2)
    found = Whitening.measure(x)
    assert 0.5e-9 < found.std[0] < 2e-9
    assert found.std[1] == 1.0
    assert 0.5e-3 < found.std[2] < 2e-3
