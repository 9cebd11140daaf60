"""film_layer_norm against its formula written out in float64, gradients included."""

import pytest
import torch

from diffsda.errors import InputError
from diffsda.kernels import backend
from diffsda.kernels.film_layer_norm import film_layer_norm


def formula(x, weight, bias, scale=None, shift=None, act="silu", eps=1e-5):
    h = x if scale is None else x * scale + shift
    mean = h.sum(-1, keepdim=True) / h.shape[-1]
    variance = ((h - mean) ** 2).sum(-1, keepdim=True) / h.shape[-1]
    y = (h - mean) / (variance + eps) ** 0.5 * weight + bias
    return y / (1 + torch.exp(-y)) if act == "silu" else y


def inputs(grad=False):
    shapes = [(4, 7), (7,), (7,), (4, 7), (4, 7)]
    return [torch.randn(s, dtype=torch.float64, requires_grad=grad) for s in shapes]


@pytest.mark.parametrize("act", ["silu", "none"])
@pytest.mark.parametrize("modulated", [True, False])
def test_formula(act, modulated):
    x, weight, bias, scale, shift = inputs()
    modulation = {"scale": scale, "shift": shift} if modulated else {}
    wanted = formula(x, weight, bias, act=act, **modulation)
    before = x.clone()
    torch.testing.assert_close(film_layer_norm(x, weight, bias, act=act, **modulation), wanted)
    assert torch.equal(x, before)


def test_modulation_comes_before_the_norm():
    x, weight, bias, scale, shift = inputs()
    # A common factor and offset are normalised away; after the norm they would not be.
    same, none = torch.full_like(scale, 3.0), torch.zeros_like(shift)
    given = film_layer_norm(x, weight, bias, scale=same, shift=none + 5, eps=1e-12)
    torch.testing.assert_close(given, film_layer_norm(x, weight, bias, eps=1e-12))


@pytest.mark.parametrize("act", ["silu", "none"])
def test_gradients(act):
    def call(x, weight, bias, scale, shift):
        return film_layer_norm(x, weight, bias, scale=scale, shift=shift, act=act)

    assert torch.autograd.gradcheck(call, inputs(True))
    assert torch.autograd.gradcheck(lambda *a: film_layer_norm(*a, act=act), inputs(True)[:3])


def test_dropout_and_refusal():
    x = torch.randn(500, 64)
    y = film_layer_norm(x, torch.ones(64), torch.zeros(64), act="none", dropout=0.5)
    assert (y == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="relu"):
        film_layer_norm(x, torch.ones(64), torch.zeros(64), act="relu")


def test_shapes_that_do_not_belong_together():
    x, weight, bias, scale, shift = inputs()
    with pytest.raises(InputError, match=r"got x \(4, 7, 1\)"):
        film_layer_norm(x[..., None], weight, bias)
    with pytest.raises(InputError, match=r"got bias \(6,\), expected \(7,\)"):
        film_layer_norm(x, weight, bias[1:])
    with pytest.raises(InputError, match=r"got shift \(3, 7\), expected \(4, 7\)"):
        film_layer_norm(x, weight, bias, scale=scale, shift=shift[1:])
    with pytest.raises(InputError, match="got no scale"):
        film_layer_norm(x, weight, bias, shift=shift)
    with pytest.raises(InputError, match="expected a probability"):
        film_layer_norm(x, weight, bias, dropout=1.5)
    with pytest.raises(InputError, match="one device"):
        film_layer_norm(x, weight, bias.to("meta"))


def test_what_is_asked_for_and_cannot_run_is_refused():
    x, weight, bias = inputs()[:3]
    with backend("triton"), pytest.raises(InputError, match="float64"):
        film_layer_norm(x, weight, bias)
