"""The prior's network computes what the authors' does, and reads their files."""

import pytest
import torch
from recorded_prior import GOLDEN, SIZES, loaded, recorded, relative, weights
from torch.utils.flop_counter import FlopCounterMode

from diffsda.errors import CheckpointError, InputError
from diffsda.prior.authors import load_authors_prior, size_of, to_ours, to_theirs
from diffsda.prior.file import load_prior, save_prior
from diffsda.prior.network import PriorNetwork, parameters_of, time_features


@pytest.mark.parametrize("t", [0, 1, 10, 500, 999])
def test_the_noise_it_sees_is_the_recorded_one(t):
    net, x = loaded().networks["joint"], recorded()["x"]
    assert relative(net(x, torch.full((len(x),), t)), recorded()[f"eps_t{t}"]) < 1e-5


def test_one_row_of_scales_serves_all_samples():
    net, x = loaded().networks["joint"], recorded()["x"]
    row = net.scales(torch.tensor([0, 500]))[1:]
    torch.testing.assert_close(net.network(x, row), net(x, torch.full((4,), 500)), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(net.network(x, net.scales(torch.tensor([10]))), net(x, torch.full((4,), 500)))


def test_scales_beforehand_save_what_the_docstring_says():
    """206 M^2 multiply-adds a row without, 169 M^2 with: their ratio, from counted operations."""
    net, rows = PriorNetwork(24).eval(), 8
    z, t = torch.zeros(rows, 24), torch.zeros(rows, dtype=torch.long)
    row = net.scales(t[:1]).detach()
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        net(z, t)
    with FlopCounterMode(display=False) as without, torch.no_grad():
        net.network(z, row)
    assert without.get_total_flops() == 2 * rows * 169 * 24**2
    assert whole.get_total_flops() == 2 * rows * (206 * 24**2 + 64 * 24)


@pytest.mark.parametrize(("size", "layers", "width"), [(21, 10, 4), (5, 2, 1), (7, 3, 6)])
def test_parameters_are_counted_without_building(size, layers, width):
    net = PriorNetwork(size, layers=layers, width=width)
    assert sum(p.numel() for p in net.parameters()) == parameters_of(size, layers=layers, width=width)


def test_full_sizes_are_the_authors():
    counts = {632: 82.4e6, 1184: 289.0e6, 1216: 304.9e6, 1152: 273.6e6, 184: 7.0e6, 2704: 1506.8e6}
    for size, count in counts.items():
        assert parameters_of(size) == pytest.approx(count, rel=5e-3)


def test_their_names_there_and_back():
    net, theirs = loaded().networks["joint"], weights()
    back = to_theirs(net.state_dict(), net)
    for name, value in back.items():
        assert torch.equal(value, theirs[f"backbone.{name}"].float()), name
    assert {k.removeprefix("backbone.") for k in theirs} - set(back) == {
        f"layers.{i}.linear_emb.{kind}" for i in range(9) for kind in ("weight", "bias")
    }
    again = to_ours({f"module.{k}": v for k, v in theirs.items()}, net)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in again.items())


def test_either_name_of_a_scale_will_do_and_both_must_agree():
    net = PriorNetwork(21)
    whole = to_ours(weights(), net)
    for gone in ("linear_emb", "cond_layers.1"):
        part = to_ours({k: v for k, v in weights().items() if gone not in k}, net)
        assert all(torch.equal(part[k], v) for k, v in whole.items())
    torn = {**weights(), "backbone.layers.3.linear_emb.bias": weights()["backbone.layers.3.linear_emb.bias"] + 1}
    with pytest.raises(CheckpointError, match=r"layers\.3\.linear_emb\.bias differs from layers\.3\.cond_layers"):
        to_ours(torn, net)


def test_tensors_that_do_not_fit_are_named():
    lacking = {k: v for k, v in weights().items() if not k.endswith("time_embed.2.bias")}
    with pytest.raises(CheckpointError, match=r"time_embed\.2\.bias is missing, expected \(21,\)"):
        to_ours(lacking, PriorNetwork(21))
    with pytest.raises(CheckpointError, match=r"layers\.0\.linear\.weight is \(84, 21\), expected \(88, 22\)"):
        to_ours(weights(), PriorNetwork(22))
    with pytest.raises(CheckpointError, match=r"expected nothing of that name"):
        to_ours({**weights(), "backbone.more": torch.zeros(1)}, PriorNetwork(21))
    with pytest.raises(CheckpointError, match=r"got tensors fc\.weight"):
        size_of({"fc.weight": torch.zeros(2, 2)})
    assert size_of(weights()) == (21, 10, 4)


def test_their_file_becomes_a_prior(tmp_path):
    file = tmp_path / "prior.pth"
    torch.save({k: v.float() for k, v in weights().items()}, file)
    for path in (file, GOLDEN / "prior.weights.safetensors"):
        prior = load_authors_prior(path, static=12, dynamic=3)
        assert prior.sizes == SIZES
        assert torch.equal(prior.sample(2, steps=5).pack(), loaded().sample(2, steps=5).pack())
        kept = load_prior(save_prior(prior, tmp_path / "ours.safetensors"))
        assert torch.equal(kept.sample(2, steps=5).pack(), loaded().sample(2, steps=5).pack())
    with pytest.raises(InputError, match=r"got z of 21 numbers, expected 12 \+ V \* 2"):
        load_authors_prior(file, static=12, dynamic=2)
    with pytest.raises(InputError, match=r"expected 21 \+ V \* 1"):
        load_authors_prior(file, static=21, dynamic=1)


def test_time_is_told_apart_to_the_last_step():
    t = torch.arange(1000)
    features = time_features(t)
    assert features.shape == (1000, 64)
    assert float(torch.pdist(features.double()).min()) > 0.01
    exact = torch.cos(t.double() * 10_000.0 ** (-torch.arange(32).double()[:, None] / 32)).T
    assert float((features[:, :32] - exact).abs().max()) < 1e-4
