"""The protocol of systems: loss terms with weights, reconstruct and swap over encode and decode, plain refusals."""

import json
from typing import ClassVar

import pytest
import torch

from diffsda.baselines.registry import SYSTEMS, network_of, settings_of
from diffsda.baselines.system import System, Terms
from diffsda.errors import InputError
from diffsda.factors import Factors


class Average(System):
    """A system whose static code is the mean frame and whose dynamic codes are what is left."""

    name = "average"
    cannot: ClassVar = {"sample_dynamic": "it has no prior"}

    def encode(self, x, lengths=None):
        static = x.mean(1)
        return Factors(static, x - static[:, None])

    def decode(self, f, noise=None, steps=None, seed=0):
        return f.static[:, None] + f.dynamic + (0.0 if noise is None else noise)

    def loss(self, x, lengths=None, generator=None):
        return Terms({"error": (self.reconstruct(x) - x).square().sum()}, {"error": 1.0})


X = torch.arange(24.0).reshape(2, 4, 3)


def test_the_total_is_the_weighted_sum():
    a, b = torch.tensor(2.0, requires_grad=True), torch.tensor(5.0, requires_grad=True)
    terms = Terms({"a": a, "b": b}, {"b": 0.5, "a": 3.0})
    assert float(terms.total.detach()) == 8.5
    terms.total.backward()
    assert (float(a.grad), float(b.grad)) == (3.0, 0.5)
    assert json.loads(json.dumps(terms.to_dict())) == {"a": 2.0, "b": 5.0, "loss": 8.5}


@pytest.mark.parametrize("weights", [{}, {"a": 1.0, "b": 1.0}, {"b": 1.0}])
def test_terms_and_weights_have_the_same_names(weights):
    with pytest.raises(InputError, match="expected the same"):
        Terms({"a": torch.tensor(1.0)}, weights)


def test_reconstruct_and_swap():
    model, other = Average(), X.flip(0) * 2
    assert torch.allclose(model.reconstruct(X), X)
    swapped = model.swap(X, other)
    assert torch.allclose(swapped.mean(1), X.mean(1))
    assert torch.allclose(swapped.diff(dim=1), other.diff(dim=1))
    assert torch.equal(model.swap(X, X), model.reconstruct(X))
    assert torch.allclose(model.swap(X, other, noise=torch.ones(1)), swapped + 1)
    assert float(model.loss(X).total) == pytest.approx(0.0, abs=1e-6)
    assert not model.swap(X.clone().requires_grad_(), other).requires_grad


def test_donors_come_in_pairs():
    with pytest.raises(InputError, match="got 2 static and 1 dynamic donors"):
        Average().swap(X, X[:1])


def test_what_a_system_cannot_do_it_says():
    with pytest.raises(InputError, match="average: cannot sample dynamic: it has no prior"):
        Average().sample_dynamic(1, 2)
    with pytest.raises(InputError, match="average: cannot sample static: it has none"):
        Average().sample_static(1)


def test_a_system_must_be_whole():
    with pytest.raises(TypeError, match="abstract"):
        type("Partial", (System,), {"name": "partial", "encode": Average.encode})()


class Drop(Average):
    """Codes that dropout changes, and a norm that counts the clips it has seen in training."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)

    def encode(self, x, lengths=None):
        return super().encode(torch.nn.functional.dropout(self.norm(x.flatten(0, 1)).view_as(x), 0.5, self.training))


def test_swaps_and_reconstructions_leave_a_system_in_training_as_it_was():
    system, x = Drop().train(), torch.randn(4, 5, 3)
    before = {name: value.clone() for name, value in system.state_dict().items()}
    assert torch.equal(system.reconstruct(x), system.reconstruct(x))
    assert torch.equal(system.swap(x, x.flip(0)), system.swap(x, x.flip(0)))
    assert system.training
    assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())


def test_every_system_that_is_named_is_there():
    for name in SYSTEMS:
        assert isinstance(network_of(name, settings_of(name)()), System)
