"""Weights that grow within each cycle: the recorded curve, and a static weight that is not stuck at zero."""

import numpy as np
import pytest
import torch
from recordings import GOLDEN

from diffsda.baselines.dbse.annealing import beta, weights
from diffsda.baselines.dbse.authors import build
from diffsda.baselines.dbse.settings import MUG
from diffsda.errors import InputError

EPOCHS = range(2000)
SMALL = MUG.replace(width=2, features=4, hidden=3, static=3, dynamic=2)


@pytest.fixture(scope="module")
def recorded():
    with np.load(GOLDEN / "dbse_mug_anneal.npz") as held:
        return dict(held)


def test_curve(recorded):
    given = [beta(epoch) for epoch in EPOCHS]
    np.testing.assert_allclose(given, recorded["beta"], rtol=0, atol=1e-6)
    assert given[25] == pytest.approx(0.5)
    assert given[50] == given[99] == 1.0
    assert beta(0, 1) == 0.0
    assert [beta(e, 4) for e in range(5)] == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.0])


def test_published_weights(recorded):
    given = np.array([weights(15.0, 1.0, epoch, as_published=True) for epoch in EPOCHS])
    np.testing.assert_allclose(given[:, 0], recorded["weight_f_effective"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(given[:, 1], recorded["weight_z_effective"], rtol=0, atol=1e-6)
    # The dynamic weight is beta whatever was asked for.
    assert weights(15.0, 7.0, 25, as_published=True)[1] == pytest.approx(0.5)


def test_the_static_weight_is_not_stuck():
    given = np.array([weights(15.0, 2.0, epoch) for epoch in EPOCHS])
    np.testing.assert_allclose(given[:, 0], 7.5 * given[:, 1], rtol=1e-12)
    assert (given[50:100, 0] == 15.0).all()
    assert (given[:, 0] == 0).sum() == 20
    assert given[:, 0].mean() == pytest.approx(15 * 0.75, rel=0.01)


@pytest.mark.parametrize("as_published", [False, True])
def test_the_loss_takes_the_weights_of_its_epoch(as_published):
    model = build(SMALL.replace(as_published=as_published))
    x = torch.rand(2, 3, 3, 64, 64)
    for epoch in (None, 0, 25, 60):
        model.epoch = epoch
        given = model.loss(x).weights
        share = 1.0 if epoch is None else beta(epoch)
        stuck = as_published and epoch is not None
        assert given["static_divergence"] == pytest.approx(0.0 if stuck else 15.0 * share)
        assert given["dynamic_divergence"] == pytest.approx(share)
        assert (given["sequence"], given["single"]) == (87.0, 30.0)


def test_without_annealing_the_epoch_changes_nothing():
    model = build(SMALL.replace(annealing=0))
    model.epoch = 0
    assert model.divergence_weights() == (15.0, 1.0)


@pytest.mark.parametrize(("epoch", "period"), [(-1, 100), (0, 0)])
def test_impossible_epochs(epoch, period):
    with pytest.raises(InputError, match="annealing"):
        beta(epoch, period)
