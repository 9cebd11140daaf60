"""Factors: swapping, selecting, packing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffsda import Factors
from diffsda.errors import InputError


@st.composite
def factors(draw, count=1, shared=None, batch=None):
    batch = batch or draw(st.integers(1, 4))
    frames, static, dynamic = (draw(st.integers(1, 5)) for _ in range(3))
    shared = draw(st.booleans()) if shared is None else shared
    made = []
    for _ in range(count):
        g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
        s = torch.randn((batch, static) if shared else (batch, frames, static), generator=g)
        made.append(Factors(s, torch.randn(batch, frames, dynamic, generator=g)))
    return made if count > 1 else made[0]


def same(f, g):
    return torch.equal(f.static, g.static) and torch.equal(f.dynamic, g.dynamic)


@given(factors(2))
def test_swapping_twice_is_the_identity(pair):
    f, g = pair
    a, b = f.swap(dynamic_from=g), g.swap(dynamic_from=f)
    assert torch.equal(a.static, f.static)
    assert torch.equal(a.dynamic, g.dynamic)
    assert same(a.swap(dynamic_from=b), f)
    assert same(b.swap(dynamic_from=a), g)
    assert same(f.swap(dynamic_from=f), f)


@given(factors(shared=True))
def test_unpack_undoes_pack(f):
    z = f.pack()
    assert z.shape == (f.batch, f.static.shape[1] + f.frames * f.dynamic.shape[2])
    assert same(Factors.unpack(z, f.static.shape[1], f.dynamic.shape[2]), f)


@given(factors())
def test_the_networks_read_dynamic_first(f):
    a = f.per_frame()
    width = f.dynamic.shape[2]
    assert torch.equal(a[..., :width], f.dynamic)
    for v in range(f.frames):
        assert torch.equal(a[:, v, width:], f.static if f.shared else f.static[:, v])


def test_packing_is_static_then_frame_by_frame():
    f = Factors(torch.tensor([[1.0, 2.0]]), torch.tensor([[[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]]))
    assert f.pack().tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]


@given(factors(batch=4))
def test_selecting_clips(f):
    assert same(f[2], f[2:3])
    assert same(f[-1], f[3:4])
    assert same(f[[1, 3]], f[torch.tensor([1, 3])])
    assert same(f[torch.tensor([False, True, False, True])], f[[1, 3]])
    assert (f[2].batch, len(f[1:]), f.batch) == (1, 3, 4)


def test_moving_and_cutting():
    f = Factors(torch.randn(2, 3, requires_grad=True) * 2, torch.randn(2, 4, 1, requires_grad=True) * 2)
    assert not f.detach().static.requires_grad
    assert not f.detach().dynamic.requires_grad
    double = f.to(torch.float64)
    assert (double.static.dtype, double.dynamic.dtype) == (torch.float64, torch.float64)
    assert f.static.dtype == torch.float32
    assert np.allclose(f.to("cpu").detach().static.numpy(), f.static.detach().numpy())


@pytest.mark.parametrize(
    ("static", "dynamic"),
    [((3,), (3, 2, 1)), ((3, 2), (3, 2)), ((2, 4), (3, 2, 1)), ((3, 5, 4), (3, 2, 1)), ((3, 2, 1, 1), (3, 2, 1))],
)
def test_shapes_that_do_not_belong_together(static, dynamic):
    with pytest.raises(InputError, match="factors"):
        Factors(torch.zeros(static), torch.zeros(dynamic))


def test_other_refusals():
    whole, each = Factors(torch.zeros(2, 3), torch.zeros(2, 4, 1)), Factors(torch.zeros(2, 4, 3), torch.zeros(2, 4, 1))
    with pytest.raises(InputError, match="per frame"):
        each.pack()
    with pytest.raises(InputError, match="unpack"):
        Factors.unpack(torch.zeros(2, 7), 3, 3)
    with pytest.raises(InputError, match="unpack"):
        Factors.unpack(torch.zeros(7), 3, 1)
    with pytest.raises(InputError, match="same clips"):
        whole.swap(dynamic_from=Factors(torch.zeros(3, 3), torch.zeros(3, 4, 1)))
    with pytest.raises(InputError, match="same clips"):
        each.swap(dynamic_from=Factors(torch.zeros(2, 5, 3), torch.zeros(2, 5, 1)))
    assert whole.swap(dynamic_from=Factors(torch.zeros(2, 3), torch.zeros(2, 9, 1))).frames == 9
